// A guarded restore as the official TypeScript SDKs see it: the happy path, and each way of not saying yes.
// Rows are those of the list of attacks that the guard was designed against; the Python tests hold the rest of them.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, test } from "node:test";
import assert from "node:assert/strict";

import { Agent, Bench, DONE, HOSTS, Person, YES } from "./harness.js";

for (const host of Object.keys(HOSTS)) {
  describe(host, { timeout: 240_000 }, () => {
    let bench, agent;

    beforeEach(async () => {
      bench = await Bench.open();
      await bench.fill();
    });

    afterEach(async () => {
      await agent?.close();
      agent = undefined;
      await bench?.close();
    });

    /** A backup, damage after it, and the token of a restore whose pre-checks have passed. */
    async function planned(person) {
      agent = await Agent.connect(bench, host, person);
      const backup = await agent.backup();
      const intact = await bench.digest();
      await bench.damage();
      const damaged = await bench.digest();
      assert.notEqual(intact, damaged);
      const { confirmation_token: token } = await agent.ask(backup);
      assert.ok(token);
      return { backup, token, intact, damaged };
    }

    function assertRefused(reply, code) {
      assert.ok(!DONE.includes(reply.status) && reply.human_verified !== true, JSON.stringify(reply));
      assert.ok(reply.code?.startsWith(code), `${code}: ${JSON.stringify(reply)}`);
    }

    test("lists its tools in a shape every host takes", async () => {
      agent = await Agent.connect(bench, host);
      const { tools } = await agent.client.listTools();
      assert.ok(tools.length >= 6 && tools.length <= 12, tools.map((tool) => tool.name).join(" "));
      for (const tool of tools) {
        for (const hint of ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"]) {
          assert.equal(typeof tool.annotations?.[hint], "boolean", `${tool.name} ${hint}`);
        }
        assert.ok(tool.title ?? tool.annotations.title, tool.name);
        for (const schema of [tool.inputSchema, tool.outputSchema]) {
          assert.equal(schema.type, "object", tool.name);
          for (const word of ["anyOf", "oneOf", "allOf"]) assert.ok(!(word in schema), `${tool.name} ${word}`);
        }
      }
    });

    test("backs up, downloads and restores with a person's yes", async () => {
      const person = new Person(YES);
      const { backup, token, intact, damaged } = await planned(person);

      const listed = await agent.call("describe_backups", { instance_id: "orders" });
      assert.ok(listed.backups.some((it) => it.backup_id === backup), JSON.stringify(listed));
      const got = await agent.call("download_backup", { instance_id: "orders", backup_id: backup });
      assert.ok(!got.error, JSON.stringify(got));
      const data = await readFile(got.path);
      assert.equal(got.bytes, data.length);
      assert.equal(got.sha256, createHash("sha256").update(data).digest("hex"));
      assert.match(await bench.check(got.path), /RDB looks OK/);

      assert.equal(person.asked.length, 0);
      assert.equal(await bench.digest(), damaged, "planning and downloading touch nothing");
      const reply = await agent.echo(backup, token);
      assert.equal(reply.human_verified, true, JSON.stringify(reply));
      await agent.finished(reply);
      assert.equal(await bench.digest(), intact);
      assert.equal(person.asked.length, 1);
      assert.ok(person.asked[0].message.includes("orders") && person.asked[0].message.includes(backup), person.asked[0].message);
      assert.deepEqual(person.asked[0].requestedSchema.required, ["instance_id"]);

      // Row 5: spent is spent.
      const again = await agent.echo(backup, token);
      assert.ok(again.error);
      assertRefused(again, "confirm.used");
    });

    test("a person who declines burns the token", async () => {
      const person = new Person({ action: "decline" });
      const { backup, token, damaged } = await planned(person);
      const reply = await agent.echo(backup, token);
      assert.equal(reply.status, "declined");
      assertRefused(reply, "person.declined");
      person.answer = YES;
      const again = await agent.echo(backup, token);
      assert.ok(again.error);
      assertRefused(again, "confirm.used");
      assert.equal(person.asked.length, 1);
      assert.equal(await bench.digest(), damaged);
    });

    test("a dialog closed touches nothing and keeps the token", async () => {
      const person = new Person({ action: "cancel" });
      const { backup, token, intact, damaged } = await planned(person);
      assertRefused(await agent.echo(backup, token), "person.");
      assert.equal(await bench.digest(), damaged);
      person.answer = YES;
      await agent.finished(await agent.echo(backup, token));
      assert.equal(await bench.digest(), intact);
    });

    for (const [name, content] of Object.entries({ "an empty form (row 3)": {}, "a no in it (row 4)": { instance_id: "no" } })) {
      test(`accept with ${name} is not a yes`, async () => {
        const person = new Person({ action: "accept", content });
        const { backup, token, damaged } = await planned(person);
        // An SDK may refuse to send such an answer; whether it does or not, nothing is restored.
        const reply = await agent.echo(backup, token).catch((error) => ({ code: "person.client", message: String(error) }));
        assertRefused(reply, "person.");
        assert.equal(await bench.digest(), damaged);
      });
    }

    test("a client that cannot ask is sent to another channel (row 2)", async () => {
      const { backup, token, damaged } = await planned(undefined);
      const reply = await agent.echo(backup, token);
      assert.equal(reply.status, "approval_required", JSON.stringify(reply));
      assertRefused(reply, "person.no_channel");
      assert.equal(await bench.digest(), damaged);
    });

    test("a flag that the agent sets is refused (row 12)", async () => {
      const person = new Person(YES);
      const { backup, token, damaged } = await planned(person);
      const args = { instance_id: "orders", backup_id: backup, confirmation_token: token, confirm: true };
      const reply = await agent.call("restore_instance", args);
      assert.ok(reply.error, JSON.stringify(reply));
      assert.equal(person.asked.length, 0);
      assert.equal(await bench.digest(), damaged);
    });
  });
}
