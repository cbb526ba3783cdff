"""What the client tests stand on: a real server to back up, our server as a child process, a person, and a raw wire.

Everything that a test asks for is started for that test on a free port of the loopback and taken down after it. Nothing is
skipped: a missing executable fails the test that wanted it.
"""

import asyncio
import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from mcp import Client, StdioServerParameters
from mcp_types import ElicitResult

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("TAIR_BACKUP_MCP_BIN", ROOT / "target/release/tair-backup-mcp")).absolute()
SERVERS = pathlib.Path(os.environ.get("SERVERS_DIR", ROOT / "target/servers")).absolute()
MODERN = "2026-07-28"
# How the SDK is told: the handshake, or asking first and taking the newest, which must then be 2026-07-28.
ERAS = {"legacy": "legacy", "modern": "auto"}

# The server promises an answer within a few seconds for data this small; the margin is for a busy machine.
PATIENCE = 60.0
# Statuses of restore_instance after which data has been, or is being, overwritten.
DONE = ("started", "succeeded")


class Redis:
    """A real Redis or Valkey in a folder of its own, with DEBUG allowed so that a digest of all data can be asked for."""

    def __init__(self, kind="redis-7.0"):
        name = kind.split("-")[0]
        folder = SERVERS / kind
        self.kind, self.server, self.client = kind, folder / f"{name}-server", folder / f"{name}-cli"
        self.check = folder / f"{name}-check-rdb"
        assert self.server.exists(), f"{self.server} is missing: run scripts/servers"
        self.folder = tempfile.mkdtemp(prefix="client-tests-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [self.server, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
             "--enable-debug-command", "yes", "--logfile", "log",
             # By default a server waits 5 s for more replicas before it streams: a minute of every ten of these tests.
             "--repl-diskless-sync-delay", "0"],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while self.cli("PING", check=False) != "PONG":
            assert time.monotonic() < deadline and self.process.poll() is None, f"{self.server} did not start"
            time.sleep(0.02)

    def cli(self, *words, check=True):
        """One command; the reply as redis-cli prints it."""
        done = subprocess.run(
            [self.client, "-p", str(self.port), *map(str, words)], capture_output=True, text=True, errors="replace", timeout=30
        )
        reply = done.stdout.strip()
        assert not check or (done.returncode == 0 and not reply.startswith(("ERR", "NOAUTH"))), (words, reply, done.stderr)
        return reply

    def fill(self, *options):
        """One key of every type and encoding, in several databases."""
        subprocess.run([sys.executable, ROOT / "scripts/fill", "--port", str(self.port), "--quiet", *options], check=True, timeout=60)

    def count(self):
        """Keys in all databases together."""
        return sum(int(keys) for keys in re.findall(r"^db\d+:keys=(\d+)", self.cli("INFO", "keyspace"), re.M))

    def digest(self):
        """One value for all there is: keys, values, expiries (DEBUG DIGEST), functions, and keys by database."""
        keyspace = re.findall(r"^(db\d+:keys=\d+,expires=\d+)", self.cli("INFO", "keyspace"), re.M)
        return self.cli("DEBUG", "DIGEST"), self.cli("FUNCTION", "LIST", "WITHCODE"), keyspace

    def damage(self):
        """What an agent gone wrong would do: some deleted, some overwritten, some added."""
        self.cli("FLUSHDB")
        for number in range(12):
            self.cli("SET", f"damage:{number}", "gone wrong")

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Bench:
    """A home folder and a configuration for our server, and the real servers that the configuration names."""

    def __init__(self, *ids, kind="redis-7.0"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="client-tests-"))
        self.home = self.folder / "home"
        self.config = self.folder / "config.toml"
        self.redis = {}
        try:
            for name in ids or ("orders",):
                self.redis[name] = Redis(kind)
        except BaseException:
            self.stop()
            raise
        self.config.write_text(
            "".join(f'[[instance]]\nid = "{name}"\nurl = "redis://127.0.0.1:{it.port}"\n\n' for name, it in self.redis.items())
        )

    @property
    def orders(self):
        return self.redis["orders"]

    def command(self, *words):
        assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set TAIR_BACKUP_MCP_BIN"
        return [str(BINARY), "--home", str(self.home), "--config", str(self.config), *words]

    @contextlib.asynccontextmanager
    async def agent(self, era, person=None):
        """The official SDK connected to our server; without a person it declares no elicitation."""
        command = self.command("serve")
        client = Client(
            StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ)),
            mode=ERAS[era],
            elicitation_callback=person,
            read_timeout_seconds=PATIENCE,
        )
        async with client:
            assert (client.protocol_version == MODERN) == (era == "modern"), client.protocol_version
            yield Agent(client)

    def raw(self):
        """Our server on a bare pipe; see Raw."""
        return Raw(self.command("serve"))

    def stop(self):
        for redis in self.redis.values():
            redis.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Person:
    """Who is asked. Answers with `answer` (action, content) every time, and remembers every question."""

    def __init__(self, action="accept", content=None):
        self.answer = (action, content)
        self.asked = []

    @classmethod
    def agreeing(cls, instance="orders"):
        """The one answer that counts as a yes: the id of the instance, typed."""
        return cls("accept", {"instance_id": instance})

    async def __call__(self, context, params):
        self.asked.append(params)
        action, content = self.answer
        return ElicitResult(action=action, content=content)


class Reply:
    """A tool's result: what a model would act on."""

    def __init__(self, error, structured, text):
        self.error, self.data, self.text = error, structured or {}, text

    @property
    def status(self):
        return self.data.get("status")

    @property
    def checks(self):
        """The verdict of every pre-check by its name. Those that pass are only named."""
        others = {check["name"]: check["status"] for check in self.data.get("prechecks", [])}
        return {name: "pass" for name in self.data.get("passed", [])} | others

    @property
    def code(self):
        return self.data.get("code") or ""

    def __getitem__(self, name):
        assert name in self.data, f"no {name} in {self}"
        return self.data[name]

    def __repr__(self):
        return f"Reply(error={self.error}, {json.dumps(self.data)[:1500] or self.text[:500]})"


class Agent:
    """A model's hands: tool calls, and the loops that a sensible agent makes of them."""

    def __init__(self, client):
        self.client = client

    async def call(self, tool, arguments, **options):
        result = await self.client.call_tool(tool, arguments, **options)
        text = "\n".join(getattr(block, "text", "") for block in result.content)
        told = result.structured_content
        assert told is None or json.loads(text) == told, "a host shows its model the one or the other"
        return Reply(bool(result.is_error), told, text)

    async def backup(self, instance="orders", **more):
        """A finished backup set's id."""
        reply = await self.call("create_backup", {"instance_id": instance, "wait_seconds": 30, **more})
        assert not reply.error, reply
        if reply.data.get("backup_id") is None or reply.status != "succeeded":
            reply = await self.job(reply["backup_job_id"])
        return reply["backup_id"]

    async def job(self, identity):
        """The job once it has ended well."""
        deadline = time.monotonic() + PATIENCE
        while True:
            reply = await self.call("describe_jobs", {"job_id": identity})
            assert not reply.error, reply
            jobs = [job for job in reply["jobs"] if job["job_id"] == identity]
            assert len(jobs) == 1, reply
            if jobs[0]["status"] == "succeeded":
                return Reply(False, jobs[0], "")
            assert jobs[0]["status"] not in ("failed", "interrupted", "cancelled"), jobs
            assert time.monotonic() < deadline, jobs
            await asyncio.sleep(0.1)

    async def ask(self, backup, instance="orders"):
        """The first call of a restore, up to the token: nothing is overwritten by it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            reply = await self.call("restore_instance", {"instance_id": instance, "backup_id": backup})
            assert not reply.error, reply
            if reply.status == "prechecks_pending" and not reply.data.get("confirmation_token"):
                assert time.monotonic() < deadline, reply
                await asyncio.sleep(0.1)
                continue
            assert reply.status in ("confirmation_required", "prechecks_pending"), reply
            assert reply["confirmation_token"], reply
            return reply

    async def echo(self, backup, token, instance="orders", **more):
        """The second call, repeated while the pre-checks are pending, as the reply itself says to do."""
        deadline = time.monotonic() + PATIENCE
        arguments = {"instance_id": instance, "backup_id": backup, "confirmation_token": token, **more}
        while True:
            reply = await self.call("restore_instance", arguments)
            if reply.error or reply.status != "prechecks_pending":
                return reply
            assert reply.data.get("confirmation_token", token) == token, "a pending pre-check must keep the token"
            assert time.monotonic() < deadline, reply
            await asyncio.sleep(0.1)

    async def planned(self, backup, instance="orders"):
        """A token whose pre-checks have all passed; echoing without a person is how an agent finds out."""
        deadline = time.monotonic() + PATIENCE
        while True:
            reply = await self.ask(backup, instance)
            assert reply.checks, reply
            if all(status in ("pass", "warn") for status in reply.checks.values()):
                return reply
            assert time.monotonic() < deadline, reply
            await asyncio.sleep(0.2)

    async def finished(self, reply):
        """Follows a restore that was begun to its end."""
        assert not reply.error and reply.status in DONE, reply
        if reply.status == "started":
            await self.job(reply["job_id"])
        return reply


class Raw:
    """The stdio wire itself, for what no well-behaved SDK would send. One request at a time."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ids = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def request(self, method, params, elicitation=True, version=MODERN):
        """A request of 2026-07-28; the reply's message, notifications passed over."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}} if elicitation else {},
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        }
        identity = next(self.ids)
        message = {"jsonrpc": "2.0", "id": identity, "method": method, "params": {**params, "_meta": meta}}
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            assert line, "the server closed its output"
            reply = json.loads(line)
            assert "method" not in reply or "id" not in reply, f"a server of {MODERN} must not send requests: {reply}"
            if reply.get("id") == identity:
                return reply

    def call(self, tool, arguments, elicitation=True, **more):
        """A tool call; `more` goes beside the arguments (inputResponses, requestState). The whole result as it came."""
        reply = self.request("tools/call", {"name": tool, "arguments": arguments, **more}, elicitation)
        assert "result" in reply, reply
        return reply["result"]

    def restore(self, backup, token=None, instance="orders", elicitation=True, **more):
        """restore_instance, repeated while pre-checks are pending."""
        arguments = {"instance_id": instance, "backup_id": backup}
        if token is not None:
            arguments["confirmation_token"] = token
        deadline = time.monotonic() + PATIENCE
        while True:
            result = self.call("restore_instance", arguments, elicitation, **more)
            status = (result.get("structuredContent") or {}).get("status")
            if status != "prechecks_pending":
                return result
            assert time.monotonic() < deadline, result
            time.sleep(0.1)

    def token(self, backup, instance="orders"):
        """A token from the first call."""
        result = self.restore(backup, instance=instance)
        assert result["structuredContent"]["status"] == "confirmation_required", result
        return result["structuredContent"]["confirmation_token"]


def begun(result):
    """Whether a raw result says that data is overwritten."""
    return (result.get("structuredContent") or {}).get("status") in DONE
