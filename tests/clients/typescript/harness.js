// What the client tests stand on: a real Redis, our server as a child process, and the official TypeScript SDKs as hosts.
// Nothing is skipped: a missing executable fails the test that wanted it.

import { spawn, execFile } from "node:child_process";
import { mkdtemp, rm, writeFile, access } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import assert from "node:assert/strict";

import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as StdioV1 } from "@modelcontextprotocol/sdk/client/stdio.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { Client as ClientV2 } from "@modelcontextprotocol/client";
import { StdioClientTransport as StdioV2 } from "@modelcontextprotocol/client/stdio";

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, "../../..");
export const binary = path.resolve(process.env.TAIR_BACKUP_MCP_BIN ?? path.join(root, "target/release/tair-backup-mcp"));
const servers = path.resolve(process.env.SERVERS_DIR ?? path.join(root, "target/servers"));
const MODERN = "2026-07-28";
const PATIENCE = 60_000;
/** Statuses of restore_instance after which data has been, or is being, overwritten. */
export const DONE = ["started", "succeeded"];

/** The hosts: the first SDK knows only the handshake, the second both eras. */
export const HOSTS = {
  "sdk 1, legacy": () => [ClientV1, StdioV1, {}],
  "client 2, legacy": () => [ClientV2, StdioV2, { versionNegotiation: { mode: "legacy" } }],
  "client 2, modern": () => [ClientV2, StdioV2, { versionNegotiation: { mode: { pin: MODERN } } }],
};

/** A Redis 7.0 in a folder of its own, and a home and a configuration for our server that names it `orders`. */
export class Bench {
  static async open() {
    const bench = new Bench();
    bench.folder = await mkdtemp(path.join(tmpdir(), "client-tests-"));
    bench.port = await freePort();
    bench.config = path.join(bench.folder, "config.toml");
    await writeFile(bench.config, `[[instance]]\nid = "orders"\nurl = "redis://127.0.0.1:${bench.port}"\n`);
    const executable = path.join(servers, "redis-7.0/redis-server");
    await access(executable).catch(() => assert.fail(`${executable} is missing: run scripts/servers`));
    // By default a server waits 5 s for more replicas before it streams a backup: most of the time of these tests.
    const options = ["--port", bench.port, "--bind", "127.0.0.1", "--dir", bench.folder, "--save", "", "--logfile", "log",
      "--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"];
    bench.redis = spawn(executable, options.map(String), { stdio: "ignore" });
    for (let tries = 0; (await bench.cli("PING").catch(() => "")) !== "PONG"; tries++) {
      assert.ok(tries < 200 && bench.redis.exitCode === null, "redis-server did not start");
      await sleep(25);
    }
    return bench;
  }

  async cli(...words) {
    const { stdout } = await run(path.join(servers, "redis-7.0/redis-cli"), ["-p", String(this.port), ...words.map(String)]);
    return stdout.trim();
  }

  async fill() {
    await run("python3", [path.join(root, "scripts/fill"), "--port", String(this.port), "--quiet"]);
  }

  /** One value for all there is: keys, values, expiries, functions, and keys by database. */
  async digest() {
    const keyspace = (await this.cli("INFO", "keyspace")).match(/^db\d+:keys=\d+,expires=\d+/gm) ?? [];
    return [await this.cli("DEBUG", "DIGEST"), await this.cli("FUNCTION", "LIST"), ...keyspace].join("\n");
  }

  async damage() {
    await this.cli("FLUSHDB");
    for (let number = 0; number < 12; number++) await this.cli("SET", `damage:${number}`, "gone wrong");
  }

  async check(file) {
    return (await run(path.join(servers, "redis-7.0/redis-check-rdb"), [file])).stdout;
  }

  async close() {
    this.redis?.kill("SIGKILL");
    await rm(this.folder, { recursive: true, force: true });
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().on("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Who is asked: answers with `answer` every time, and remembers every question. */
export class Person {
  constructor(answer) {
    this.answer = answer;
    this.asked = [];
  }

  ask(params) {
    this.asked.push(params);
    return this.answer;
  }
}

export const YES = { action: "accept", content: { instance_id: "orders" } };

/** A model's hands: tool calls, and the loops that a sensible agent makes of them. */
export class Agent {
  static async connect(bench, host, person) {
    const [Client, Transport, options] = HOSTS[host]();
    const agent = new Agent();
    agent.client = new Client(
      { name: "client-tests", version: "1.0.0" },
      { capabilities: person ? { elicitation: { form: {} } } : {}, ...options },
    );
    if (person) {
      const method = Client === ClientV1 ? ElicitRequestSchema : "elicitation/create";
      agent.client.setRequestHandler(method, (request) => person.ask(request.params));
    }
    await access(binary).catch(() => assert.fail(`${binary} is missing: cargo build --release, or set TAIR_BACKUP_MCP_BIN`));
    const args = ["--home", path.join(bench.folder, "home"), "--config", bench.config, "serve"];
    await agent.client.connect(new Transport({ command: binary, args, env: { ...process.env }, stderr: "inherit" }));
    return agent;
  }

  /** The result as { error, status, code, … }: what a model would act on. */
  async call(name, args, options) {
    const params = { name, arguments: args };
    const result = this.client instanceof ClientV1
      ? await this.client.callTool(params, undefined, options)
      : await this.client.callTool(params, options);
    // A host shows its model the one or the other.
    if (result.structuredContent) assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent);
    return { ...result.structuredContent, error: result.isError === true };
  }

  async backup() {
    const made = await this.call("create_backup", { instance_id: "orders", wait_seconds: 30 });
    assert.ok(!made.error && made.status === "succeeded" && made.backup_id, JSON.stringify(made));
    return made.backup_id;
  }

  /** The first call of a restore, repeated until every pre-check has passed: nothing is overwritten by it. */
  async ask(backup) {
    for (const deadline = Date.now() + PATIENCE; ; await sleep(200)) {
      const reply = await this.call("restore_instance", { instance_id: "orders", backup_id: backup });
      assert.ok(!reply.error && ["confirmation_required", "prechecks_pending"].includes(reply.status), JSON.stringify(reply));
      // Those that pass are only named.
      assert.ok(reply.passed?.length > 0, JSON.stringify(reply));
      if ((reply.prechecks ?? []).every((check) => check.status === "warn")) return reply;
      assert.ok(Date.now() < deadline, JSON.stringify(reply));
    }
  }

  /** The second call, repeated while the pre-checks are pending, as the reply itself says to do. */
  async echo(backup, token) {
    for (const deadline = Date.now() + PATIENCE; ; await sleep(100)) {
      const reply = await this.call("restore_instance", { instance_id: "orders", backup_id: backup, confirmation_token: token });
      if (reply.error || reply.status !== "prechecks_pending") return reply;
      assert.ok(Date.now() < deadline, JSON.stringify(reply));
    }
  }

  /** Follows a restore that was begun to its end. */
  async finished(reply) {
    assert.ok(!reply.error && DONE.includes(reply.status), JSON.stringify(reply));
    for (const deadline = Date.now() + PATIENCE; reply.status === "started"; await sleep(100)) {
      const { jobs } = await this.call("describe_jobs", { job_id: reply.job_id });
      const job = jobs.find((it) => it.job_id === reply.job_id);
      if (job.status === "succeeded") return;
      assert.ok(job.status !== "failed" && Date.now() < deadline, JSON.stringify(job));
    }
  }

  close() {
    return this.client.close();
  }
}
