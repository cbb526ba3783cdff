"""Instances on Alibaba Cloud through our server, with the emulator in the cloud's place and real servers behind it.

What holds for a server of one's own holds here: nothing is overwritten, and no money spent, without a person's yes.
"""

import time

import pytest
from harness import Bench, Person
from test_alibaba_sdk import KEY, emulate

pytestmark = pytest.mark.anyio

EMULATED = {
    "r-classic": "",
    "r-native": 'emulate = { generation = "cloud_native" }\n',
    "r-spare": 'emulate = { generation = "cloud_native", spare = true }\n',
}


class Cloud(Bench):
    """Our server's configuration names nothing but the cloud."""

    def __init__(self, port, behind):
        self.folder = behind.folder / "client"
        self.folder.mkdir()
        self.home, self.config, self.redis = self.folder / "home", self.folder / "config.toml", {}
        # The cloud measures writes over minutes, and these tests have just made some.
        guard = "[guard]\nmax_writes_per_second = 1000000\n\n"
        self.config.write_text(f'{guard}[tair]\nregion = "cn-hangzhou"\nendpoint = "http://127.0.0.1:{port}"\n')


@pytest.fixture
def cloud(make_bench, monkeypatch):
    """Our server, the emulator it talks to, and the bench of real servers behind that."""
    behind = make_bench(*EMULATED)
    config = behind.config.read_text()
    for name, lines in EMULATED.items():
        config = config.replace(f'id = "{name}"\n', f'id = "{name}"\n{lines}')
    behind.config.write_text(config)
    for name, value in KEY.items():
        monkeypatch.setenv(name, value)
    with emulate(behind) as port:
        yield Cloud(port, behind), behind.redis


async def ended(agent, job, within=60):
    """The job, however it ended."""
    deadline = time.monotonic() + within
    while True:
        (row,) = (await agent.call("describe_jobs", {"job_id": job}))["jobs"]
        if row["status"] != "running":
            return row
        assert time.monotonic() < deadline, row
        time.sleep(0.2)


async def test_a_classic_instance_is_restored_once_a_person_agrees(cloud, era):
    """Backup, download, damage, plan, a person's yes, and the data is back."""
    bench, redis = cloud
    classic = redis["r-classic"]
    classic.fill()
    before, person = classic.digest(), Person.agreeing("r-classic")
    async with bench.agent(era, person) as agent:
        listed = await agent.call("describe_instances", {})
        assert [it["instance_id"] for it in listed["instances"]] == ["r-classic", "r-native"], listed
        assert {it["kind"] for it in listed["instances"]} == {"tair"}, listed
        backup = await agent.backup("r-classic")
        got = await agent.call("download_backup", {"instance_id": "r-classic", "backup_id": backup})
        assert got["bytes"] > 0 and "Signature" not in str(got.data), got
        asked = await agent.call("download_backup", {"instance_id": "r-classic", "backup_id": backup, "url_only": True})
        assert "Signature=" in asked["url"] and asked["expires_at"], "the URL comes only when asked for"
        classic.damage()
        damaged = classic.digest()
        plan = await agent.ask(backup, "r-classic")
        assert classic.digest() == damaged and person.asked == []
        assert set(plan.checks) >= {"instance_ready", "write_traffic", "safety_backup"}, plan
        reply = await agent.echo(backup, plan["confirmation_token"], "r-classic")
        assert reply.status in ("started", "succeeded") and reply["human_verified"] is True, reply
        job = await ended(agent, reply["job_id"])
        assert job["status"] == "succeeded" and len(person.asked) == 1, job
    assert classic.digest() == before


async def test_a_declined_restore_leaves_the_cloud_alone(cloud, era):
    """No, an empty form and no channel at all: the instance keeps what it has."""
    bench, redis = cloud
    classic = redis["r-classic"]
    for person, status in ((Person("decline"), "declined"), (Person("accept", {}), "approval_required"), (None, "approval_required")):
        async with bench.agent(era, person) as agent:
            backup = await agent.backup("r-classic")
            classic.cli("SET", "later", status)
            before = classic.digest()
            plan = await agent.ask(backup, "r-classic")
            reply = await agent.echo(backup, plan["confirmation_token"], "r-classic")
            if reply.status == "plan_changed":
                # The cloud's figure of that very write came after the plan, which told of none.
                reply = await agent.echo(backup, reply["confirmation_token"], "r-classic")
            assert reply.status == status, reply
        assert classic.digest() == before


async def test_a_cloud_native_instance_is_cloned_instead(cloud, era):
    """In place is refused with the reason and the call that works; that one spends money only after a yes."""
    bench, redis = cloud
    native, spare = redis["r-native"], redis["r-spare"]
    native.fill()
    before, person = native.digest(), Person.agreeing("r-native")
    async with bench.agent(era, person) as agent:
        backup = await agent.backup("r-native")
        refused = await agent.call("restore_instance", {"instance_id": "r-native", "backup_id": backup})
        assert refused.status == "blocked" and "confirmation_token" not in refused.data, refused
        assert "create_instance_from_backup" in refused["next_actions"][0] and "cloud-native" in refused["hint"], refused
        # What blocks is in the message, and only named beside it.
        blocking = [name for name, status in refused.checks.items() if status == "block"]
        assert blocking and all(f"{name}: " in refused["message"] for name in blocking), refused

        clone = {"instance_id": "r-native", "backup_id": backup}
        plan = await agent.call("create_instance_from_backup", clone)
        assert plan.status == "confirmation_required" and spare.count() == 0, plan
        said = str(plan.data)
        assert "PostPaid" in said and "billed" in said, plan
        made = await agent.call("create_instance_from_backup", {**clone, "confirmation_token": plan["confirmation_token"]})
        assert made.status in ("started", "succeeded"), made
        job = await ended(agent, made["job_id"])
        assert job["status"] == "succeeded" and "r-spare" in job["message"], job
        assert len(person.asked) == 1 and "COSTS MONEY" in str(person.asked[0]), person.asked
        listed = await agent.call("describe_instances", {})
        assert "r-spare" in [it["instance_id"] for it in listed["instances"]], listed
    # Two servers list the functions of a library in orders of their own.
    assert spare.digest()[::2] == before[::2] and native.digest() == before


async def test_a_glob_is_recognised(cloud, era):
    """An agent that gives a glob where expressions are meant is told which expression it means."""
    bench, _ = cloud
    async with bench.agent(era) as agent:
        moment = {"instance_id": "r-classic", "restore_time": "2026-11-23T06:15:00Z", "filter_key": "session:*"}
        reply = await agent.call("restore_instance", moment)
        assert reply.error or reply.status == "blocked", reply
        assert "session:.*" in str(reply.data), reply


async def test_protection_is_lowered_only_with_a_person(cloud, era):
    """More protection at once; less only after a yes; and what is not named stays."""
    bench, _ = cloud
    person = Person.agreeing("r-classic")
    async with bench.agent(era, person) as agent:
        raised = await agent.call("modify_backup_policy", {"instance_id": "r-classic", "backup_retention_period": 60})
        assert raised.status == "succeeded" and person.asked == [], raised
        days = {"instance_id": "r-classic", "preferred_backup_period": ["Monday"]}
        lower = await agent.call("modify_backup_policy", days)
        assert lower.status == "confirmation_required", lower
        done = await agent.call("modify_backup_policy", {**days, "confirmation_token": lower["confirmation_token"]})
        assert done.status == "succeeded" and len(person.asked) == 1, done
        now = await agent.call("describe_backup_policy", {"instance_id": "r-classic"})
        assert (now["preferred_backup_period"], now["backup_retention_period"]) == (["Monday"], 60), now
