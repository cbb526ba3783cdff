// The MCP Inspector's command line, which judges tool schemas by what hosts and model providers accept: it finds nothing to
// report in either era of the protocol, and a call through it gives the tool's structured result.

import test from "node:test";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";

import { Bench, binary } from "./harness.js";

const run = promisify(execFile);
const inspector = path.resolve(import.meta.dirname, "node_modules/.bin/mcp-inspector");

async function inspect(bench, era, ...words) {
  // The inspector has a --config of its own, so ours goes by the environment.
  const settings = { TAIR_BACKUP_MCP_HOME: path.join(bench.folder, "home"), TAIR_BACKUP_MCP_CONFIG: bench.config };
  const server = [binary, "serve", ...Object.entries(settings).flatMap(([name, value]) => ["-e", `${name}=${value}`])];
  // An exit code other than 0 rejects: --strict gives 6 for a schema that some host or provider would refuse.
  const { stdout } = await run(process.execPath, [inspector, "--cli", ...server, "--protocol-era", era, ...words]);
  return JSON.parse(stdout);
}

for (const era of ["legacy", "modern"]) {
  test(`inspector, ${era}: the list is portable, and a call gives a structured result`, async () => {
    const bench = await Bench.open();
    try {
      const { tools } = await inspect(bench, era, "--method", "tools/list", "--strict");
      assert.equal(tools.length, 11);
      const called = await inspect(bench, era, "--method", "tools/call", "--tool-name", "describe_instances");
      assert.equal((called.result ?? called).structuredContent.instances[0].instance_id, "orders");
    } finally {
      await bench.close();
    }
  });
}
