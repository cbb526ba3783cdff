"""The main job through the official Python SDK: back up, list, download, damage, restore; and what tools/list says."""

import hashlib
import pathlib
import re
import subprocess

import pytest
from harness import Person

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["redis-7.0", "redis-8.0", "valkey-8.1"])
async def test_backup_download_damage_restore(make_bench, era, kind):
    """Everything a server holds comes back equal after a backup, damage, a token echoed and a person's yes."""
    bench = make_bench("orders", kind=kind)
    bench.orders.fill()
    before, keys = bench.orders.digest(), bench.orders.count()
    person, steps = Person.agreeing(), []

    async def progress(done, total, message):
        steps.append(done)

    async with bench.agent(era, person) as agent:
        instances = await agent.call("describe_instances", {})
        assert [it["instance_id"] for it in instances["instances"]] == ["orders"], instances
        assert "protection" in instances["instances"][0], instances

        made = await agent.call("create_backup", {"instance_id": "orders", "wait_seconds": 30, "note": "first"}, progress_callback=progress)
        assert not made.error and made["status"] == "succeeded", made
        backup = made["backup_id"]
        assert isinstance(made["backup_job_id"], str) and steps and steps == sorted(steps), (made, steps)

        listed = await agent.call("describe_backups", {"instance_id": "orders"})
        assert [it["backup_id"] for it in listed["backups"]] == [backup], listed

        got = await agent.call("download_backup", {"instance_id": "orders", "backup_id": backup})
        assert not got.error, got
        file = pathlib.Path(got["path"])
        data = file.read_bytes()
        assert got["bytes"] == len(data) and got["sha256"] == hashlib.sha256(data).hexdigest(), got
        checked = subprocess.run([bench.orders.check, file], capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0 and "RDB looks OK" in checked.stdout, checked.stdout

        bench.orders.damage()
        damaged = bench.orders.digest()
        assert damaged != before

        first = await agent.ask(backup)
        assert {"instance_ready", "backup_verified"} <= set(first["passed"]), first
        for check in first.data.get("prechecks", []):
            assert set(check) >= {"name", "status", "detail"} and check["status"] in ("warn", "pending"), check
        assert {"restore_way", "write_traffic", "safety_backup"} <= set(first.checks), first
        for name in ("plan", "impact", "expires_at"):
            assert first[name], first
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["expires_at"]), first
        assert person.asked == [] and bench.orders.digest() == damaged, "the first call only plans"

        reply = await agent.echo(backup, first["confirmation_token"])
        assert reply.data.get("human_verified") is True and "plan" not in reply.data, reply
        await agent.finished(reply)
        assert len(person.asked) == 1
        assert bench.orders.digest() == before and bench.orders.count() == keys

        # The way back: the data as it was just before the restore is a backup set, too.
        others = [it["backup_id"] for it in (await agent.call("describe_backups", {"instance_id": "orders"}))["backups"]]
        assert len(others) == 2 and backup in others, others
        safety = next(it for it in others if it != backup)
        again = await agent.planned(safety)
        await agent.finished(await agent.echo(safety, again["confirmation_token"]))
        assert bench.orders.digest() == damaged, "the safety backup brings back what the restore overwrote"

    assert "role:master" in bench.orders.cli("INFO", "replication")


async def test_tools_list(bench, era):
    """At most 12 tools, each titled and with all four hints, and schemas that every model provider takes."""
    async with bench.agent(era) as agent:
        tools = (await agent.client.list_tools()).tools
        assert {tool.name for tool in tools} >= {
            "describe_instances", "create_backup", "describe_backups", "download_backup", "restore_instance", "describe_jobs"
        }
        assert len(tools) <= 12
        for tool in tools:
            hints = tool.annotations
            assert hints is not None and (tool.title or hints.title), tool.name
            given = (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint)
            assert None not in given, (tool.name, given)
            assert tool.description and tool.output_schema, tool.name
            for schema in (tool.input_schema, tool.output_schema):
                assert schema["type"] == "object" and not {"anyOf", "oneOf", "allOf"} & set(schema), tool.name
            assert tool.input_schema.get("additionalProperties") is False, tool.name
            assert len(f"mcp__tair-backup-mcp__{tool.name}") <= 64
        # Row 13: a tool that can destroy is called so, and each takes the guard's token.
        destroys = [tool for tool in tools if tool.annotations.destructive_hint]
        assert [tool.name for tool in destroys] == ["restore_instance", "modify_backup_policy", "delete_backup"]
        assert all("confirmation_token" in tool.input_schema["properties"] for tool in destroys)
        assert agent.client.instructions
        prompts = {prompt.name for prompt in (await agent.client.list_prompts()).prompts}
        assert prompts == {"safe_restore", "find_the_mistake", "before_risky_change"}


async def test_lists_without_any_server(make_bench, era):
    """Starting and listing need no network and no running instance; a call that needs one says so."""
    bench = make_bench("orders")
    bench.orders.stop()
    async with bench.agent(era) as agent:
        assert (await agent.client.list_tools()).tools
        reply = await agent.call("create_backup", {"instance_id": "orders", "wait_seconds": 20})
        if not reply.error:  # begun as a job, which must then fail
            assert reply.status == "failed", reply
        else:
            assert reply.code and reply["message"] and reply["hint"], reply


async def test_unknown_instance_and_backup(bench, era):
    """An id that is not there is a tool result with a code and a hint, not a protocol error."""
    async with bench.agent(era, Person.agreeing()) as agent:
        for tool, arguments in (
            ("create_backup", {"instance_id": "order"}),
            ("describe_backups", {"instance_id": "order"}),
            ("download_backup", {"instance_id": "orders", "backup_id": "no-such-backup"}),
            ("restore_instance", {"instance_id": "orders", "backup_id": "no-such-backup"}),
        ):
            reply = await agent.call(tool, arguments)
            assert reply.error and reply.code and reply["message"] and reply["hint"], (tool, reply)
