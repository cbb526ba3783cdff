// The official Node SDK of Alibaba Cloud against `emulate`: it cannot tell the emulator from the cloud for what it calls here.
// A real Redis stands behind it, so a backup that is listed holds its data, and a restore brings it back.

import test from "node:test";
import assert from "node:assert/strict";
import { once } from "node:events";
import { execFile, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createHash } from "node:crypto";
import { appendFile, readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import { Bench, binary } from "./harness.js";

const require = createRequire(import.meta.url);
const kvstore = require("@alicloud/r-kvstore20150101");
const { Config } = require("@alicloud/openapi-client");

const run = promisify(execFile);
const KEY = { ALIBABA_CLOUD_ACCESS_KEY_ID: "sdk-key", ALIBABA_CLOUD_ACCESS_KEY_SECRET: "sdk-secret" };
const ID = { instanceId: "orders" };
const EVER = { startTime: "2010-01-01T10:00Z", endTime: "2050-01-01T10:00Z" };

/** Runs a test with a bench, its emulator, and SDK clients of that. */
async function emulated(work, ...options) {
  const bench = await Bench.open();
  try {
    await serving(bench, work, ...options);
  } finally {
    await bench.close();
  }
}

/** The same with a bench that outlives the emulator. */
async function serving(bench, work, ...options) {
  const ours = (...words) => ["--home", path.join(bench.folder, "home"), "--config", bench.config, ...words];
  const process_ = spawn(binary, ours("emulate", "--listen", "127.0.0.1:0", ...options), {
    env: { ...process.env, ...KEY },
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const [line] = await once(createInterface({ input: process_.stdout }), "line");
    const port = line.match(/http:\/\/127\.0\.0\.1:(\d+)/)?.[1];
    assert.ok(port, line);
    const sdk = (accessKeySecret = KEY.ALIBABA_CLOUD_ACCESS_KEY_SECRET) =>
      new kvstore.default(
        new Config({
          accessKeyId: KEY.ALIBABA_CLOUD_ACCESS_KEY_ID,
          accessKeySecret,
          endpoint: `127.0.0.1:${port}`,
          protocol: "HTTP",
          regionId: "cn-hangzhou",
        }),
      );
    await work({ bench, sdk, audit: async () => (await run(binary, ours("audit"))).stdout });
  } finally {
    process_.kill("SIGTERM");
    await once(process_, "exit");
  }
}

/** From here on the emulator shows `orders` as an instance of the newer generation. */
const cloudNative = (bench) => appendFile(bench.config, 'emulate = { generation = "cloud_native" }\n');

/** Polls as users of the SDK do, for there is nothing that calls back. */
async function until(what, look, within = 30_000) {
  for (const deadline = Date.now() + within; Date.now() < deadline; await sleep(100)) {
    const found = await look();
    if (found) return found;
  }
  assert.fail(`no ${what} within ${within} ms`);
}

const status = async (sdk, instanceId = "orders") => {
  const { body } = await sdk.describeInstanceAttribute(new kvstore.DescribeInstanceAttributeRequest({ instanceId }));
  return body.instances.DBInstanceAttribute[0].instanceStatus;
};
const backups = async (sdk) => (await sdk.describeBackups(new kvstore.DescribeBackupsRequest({ ...ID, ...EVER }))).body.backups.backup;

async function backUp(sdk) {
  const { backupJobID } = (await sdk.createBackup(new kvstore.CreateBackupRequest(ID))).body;
  assert.match(backupJobID, /^\d+$/);
  await until("end of the job", async () => {
    const { body } = await sdk.describeBackupTasks(new kvstore.DescribeBackupTasksRequest({ ...ID, backupJobId: backupJobID }));
    assert.equal(body.instanceId, "orders");
    const [task] = body.backupJobs;
    assert.deepEqual([body.backupJobs.length, String(task.backupJobID), task.jobMode], [1, backupJobID, "Manual"]);
    return task.backupProgressStatus === "Finished";
  });
  return until("set", async () => (await backups(sdk)).find((it) => String(it.backupJobID) === backupJobID && it.backupId));
}

test("Node SDK: describe, back up, poll, list, fetch, restore", () =>
  emulated(async ({ bench, sdk: connect, audit }) => {
    const sdk = connect();
    await bench.fill();
    const before = await bench.digest();
    const listed = (await sdk.describeInstances(new kvstore.DescribeInstancesRequest({ regionId: "cn-hangzhou" }))).body;
    assert.deepEqual([listed.totalCount, listed.instances.KVStoreInstance.map((it) => it.instanceId)], [1, ["orders"]]);
    assert.equal(await status(sdk), "Normal");

    const made = await backUp(sdk);
    assert.deepEqual([made.backupStatus, made.backupMode, made.nodeInstanceId], ["Success", "Manual", "orders"]);
    const fetched = await fetch(made.backupDownloadURL);
    assert.equal(fetched.status, 200);
    const file = path.join(bench.folder, "fetched.rdb");
    const bytes = Buffer.from(await fetched.arrayBuffer());
    await writeFile(file, bytes);
    assert.equal(bytes.length, made.backupSize);
    assert.match(await bench.check(file), /RDB looks OK/);

    await bench.damage();
    assert.notEqual(await bench.digest(), before);
    await sdk.restoreInstance(new kvstore.RestoreInstanceRequest({ ...ID, backupId: String(made.backupId) }));
    await until("end of the restore", async () => (await status(sdk)) === "Normal" && (await bench.digest()) === before);
    assert.match(await audit(), /delegated by a signed caller/);

    // Sets of a classic instance cannot be deleted.
    const remove = new kvstore.DeleteBackupRequest({ ...ID, backupId: String(made.backupId) });
    await assert.rejects(sdk.deleteBackup(remove), { code: "ServiceNotSupport" });
  }));

test("Node SDK: a manual set is deleted, an automatic one is not", async () => {
  const bench = await Bench.open();
  try {
    await cloudNative(bench);
    await serving(bench, async ({ sdk: connect }) => {
      const sdk = connect();
      const made = await backUp(sdk);
      await sdk.deleteBackup(new kvstore.DeleteBackupRequest({ ...ID, backupId: String(made.backupId) }));
      assert.deepEqual(await backups(sdk), []);
      await backUp(sdk);
    });
    // The manifest of one is made to say that a policy took it, as an earlier version would have: not signed, and remembered by nobody.
    const vault = path.join(bench.folder, "home/vault/orders");
    const [set] = (await readdir(vault)).filter((name) => !name.startsWith("."));
    const manifest = path.join(vault, set, "manifest.json");
    // As it would have been written: the checksum is over the fields with an empty one in its place.
    const text = (await readFile(manifest, "utf8")).replace(/"mode": ?"manual"/, '"mode":"automated"');
    const fields = JSON.stringify({ ...JSON.parse(text), checksum: "" });
    const checksum = createHash("sha256").update(fields).digest("hex");
    await rm(manifest);
    await writeFile(manifest, JSON.stringify({ ...JSON.parse(fields), checksum }));
    await rm(`${manifest}.minisig`);
    for (const end of ["", "-wal", "-shm"]) await rm(path.join(bench.folder, `home/state.db${end}`), { force: true });
    await serving(bench, async ({ sdk: connect }) => {
      const sdk = connect();
      const [automatic] = await backups(sdk);
      assert.equal(automatic.backupMode, "Automated");
      const remove = new kvstore.DeleteBackupRequest({ ...ID, backupId: String(automatic.backupId) });
      await assert.rejects(sdk.deleteBackup(remove), { code: "IncorrectBackupSetState" });
      assert.equal((await backups(sdk)).length, 1);
    });
  } finally {
    await bench.close();
  }
});

test("Node SDK: the policy is set and read back", () =>
  emulated(async ({ sdk: connect }) => {
    const sdk = connect();
    const policy = { preferredBackupTime: "05:00Z-06:00Z", preferredBackupPeriod: "Tuesday,Sunday", backupRetentionPeriod: 14 };
    await sdk.modifyBackupPolicy(new kvstore.ModifyBackupPolicyRequest({ ...ID, ...policy }));
    const now = (await sdk.describeBackupPolicy(new kvstore.DescribeBackupPolicyRequest(ID))).body;
    assert.deepEqual([now.preferredBackupTime, now.backupRetentionPeriod], ["05:00Z-06:00Z", "14"]);
    assert.deepEqual(now.preferredBackupPeriod.split(",").sort(), ["Sunday", "Tuesday"]);
  }));

test("Node SDK: refusals are its own typed errors, with the cloud's codes", () =>
  emulated(
    async ({ sdk: connect }) => {
      const sdk = connect();
      await assert.rejects(status(connect("another")), { name: "ClientError", code: "SignatureDoesNotMatch", statusCode: 400 });
      await assert.rejects(status(sdk, "nobody"), { name: "ClientError", code: "InvalidInstanceId.NotFound" });
      const moment = { ...ID, restoreType: "1", restoreTime: "2026-01-02T03:04:05Z" };
      await assert.rejects(sdk.restoreInstance(new kvstore.RestoreInstanceRequest(moment)), { code: "ServiceNotSupport" });
      await assert.rejects(backups(sdk), { name: "ThrottlingError", code: "Throttling.User" });
      assert.deepEqual(await backups(sdk), []);
    },
    "--mishap",
    "throttle,action=DescribeBackups",
  ));
