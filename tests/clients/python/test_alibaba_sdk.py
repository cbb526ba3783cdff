"""The official Python SDK of Alibaba Cloud against `emulate`: it cannot tell the emulator from the cloud for what it calls here.

A real Redis stands behind it, so a backup that is listed holds its data, and a restore brings it back.
"""

import asyncio
import contextlib
import datetime
import hashlib
import json
import os
import re
import sqlite3
import struct
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from alibabacloud_r_kvstore20150101 import models
from alibabacloud_r_kvstore20150101.client import Client
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException, ThrottlingException
from alibabacloud_tea_openapi.utils import Utils
from alibabacloud_tea_openapi.utils_models import Config
from harness import ROOT

KEY = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "sdk-key", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "sdk-secret"}
EVER = {"start_time": "2010-01-01T10:00Z", "end_time": "2050-01-01T10:00Z"}
DAYS = "Monday,Wednesday,Friday"
DAY = datetime.timedelta(days=1)


@contextlib.contextmanager
def emulate(bench, *options, **env):
    """The emulator over a bench's instances; gives the port it says it listens on."""
    process = subprocess.Popen(
        bench.command("emulate", "--listen", "127.0.0.1:0", *options), env={**os.environ, **KEY, **env}, stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert "http://127.0.0.1:" in line, line
        yield int(line.strip().rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait(20)


def shown_as(bench, kind):
    """From here on the emulator shows the last instance as this kind of one."""
    bench.config.write_text(bench.config.read_text().rstrip() + f"\nemulate = {{ {kind} }}\n")


def cloud_native(bench):
    """From here on the emulator shows `orders` as an instance of the newer generation."""
    shown_as(bench, 'generation = "cloud_native"')


def client(port, secret=KEY["ALIBABA_CLOUD_ACCESS_KEY_SECRET"], **more):
    return Client(
        Config(
            access_key_id=KEY["ALIBABA_CLOUD_ACCESS_KEY_ID"],
            access_key_secret=secret,
            endpoint=f"127.0.0.1:{port}",
            protocol="http",
            region_id="cn-hangzhou",
            **more,
        )
    )


def until(what, look, within=30):
    """Polls as users of the SDK do, for there is nothing that calls back."""
    deadline = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < deadline, f"no {what} within {within} s"
        time.sleep(0.1)
    return found


def status(sdk, instance="orders"):
    reply = sdk.describe_instance_attribute(models.DescribeInstanceAttributeRequest(instance_id=instance))
    return reply.body.instances.dbinstance_attribute[0].instance_status


def backups(sdk, **more):
    return sdk.describe_backups(models.DescribeBackupsRequest(instance_id="orders", **EVER, **more)).body.backups.backup


def back_up(sdk, **more):
    """CreateBackup, followed to its set as Terraform's provider does."""
    job = sdk.create_backup(models.CreateBackupRequest(instance_id="orders", **more)).body.backup_job_id
    assert isinstance(job, str) and job.isdigit(), job
    tasks = sdk.describe_backup_tasks(models.DescribeBackupTasksRequest(instance_id="orders", backup_job_id=job)).body
    assert tasks.instance_id == "orders"
    for task in tasks.backup_jobs:
        assert str(task.backup_job_id) == job and task.job_mode == "Manual", task
        assert task.backup_progress_status in ("NoStart", "Preparing", "Waiting", "Uploading", "Checking", "Finished"), task
    found = until("set", lambda: [it for it in backups(sdk) if str(it.backup_job_id) == job and it.backup_id])
    return found[0]


def moment(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


def keep(sdk, row, until):
    """ModifyBackupExpireTime, with the moment as its documents write it."""
    request = models.ModifyBackupExpireTimeRequest(
        instance_id="orders", backup_id=str(row.backup_id), expect_expire_time=until.strftime("%Y-%m-%dT%H:%MZ")
    )
    return sdk.modify_backup_expire_time(request)


def refused(call, code, kind=ClientException):
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.code == code, caught.value
    return caught.value


def test_describe_back_up_fetch_restore_delete(bench):
    """The whole round: instances, backup, its list, its URL's file, the restore of it, and its deletion."""
    orders = bench.orders
    orders.fill()
    before, keys = orders.digest(), orders.count()
    with emulate(bench) as port:
        sdk = client(port)
        regions = sdk.describe_regions(models.DescribeRegionsRequest()).body.region_ids.kvstore_region
        assert regions and all(it.region_id and it.region_endpoint for it in regions), regions
        listed = sdk.describe_instances(models.DescribeInstancesRequest(region_id="cn-hangzhou")).body
        assert (listed.total_count, [it.instance_id for it in listed.instances.kvstore_instance]) == (1, ["orders"])
        assert status(sdk) == "Normal" and backups(sdk) == []

        made = back_up(sdk)
        assert (made.backup_status, made.backup_mode, made.backup_type) == ("Success", "Manual", "FullBackup"), made
        assert isinstance(made.backup_id, int) and made.node_instance_id == "orders" and made.engine_version, made
        datetime.datetime.strptime(made.backup_start_time, "%Y-%m-%dT%H:%M:%SZ")

        file = bench.folder / "fetched.rdb"
        with urllib.request.urlopen(made.backup_download_url) as reply:
            file.write_bytes(reply.read())
        assert file.stat().st_size == made.backup_size
        checked = subprocess.run([orders.check, file], capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0 and "RDB looks OK" in checked.stdout, checked.stdout

        orders.damage()
        assert orders.digest() != before
        sdk.restore_instance(models.RestoreInstanceRequest(instance_id="orders", backup_id=str(made.backup_id)))
        until("end of the restore", lambda: status(sdk) == "Normal" and orders.count() == keys)
        assert orders.digest() == before

        # Sets of a classic instance cannot be deleted.
        delete = models.DeleteBackupRequest(instance_id="orders", backup_id=str(made.backup_id))
        refused(lambda: sdk.delete_backup(delete), "ServiceNotSupport")
    # And one of the newer generation cannot be restored in place.
    cloud_native(bench)
    with emulate(bench) as port:
        sdk = client(port)
        restore = models.RestoreInstanceRequest(instance_id="orders", backup_id=str(made.backup_id))
        refused(lambda: sdk.restore_instance(restore), "ServiceNotSupport")
        sdk.delete_backup(delete)
        assert backups(sdk) == []
        refused(lambda: sdk.delete_backup(delete), "InvalidBackupSetID.NotFound")
    audit = subprocess.run(bench.command("audit"), capture_output=True, text=True, timeout=60).stdout
    assert "delegated by a signed caller" in audit and "restore.succeeded" in audit, audit


def test_an_automatic_set_is_not_deleted(bench):
    """A set that no person asked for stays, whoever signs."""
    cloud_native(bench)
    with emulate(bench) as port:
        back_up(client(port))
    # The manifest of one is made to say that a policy took it, as an earlier version would have: not signed, and remembered by nobody.
    (manifest,) = (bench.home / "vault/orders").glob("*/manifest.json")
    fields = json.loads(manifest.read_text()) | {"mode": "automated", "checksum": ""}
    # As it would have been written: the checksum is over the fields with an empty one in its place.
    compact = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    manifest.unlink()
    manifest.write_text(json.dumps(fields | {"checksum": hashlib.sha256(compact.encode()).hexdigest()}))
    manifest.with_name("manifest.json.minisig").unlink()
    with contextlib.closing(sqlite3.connect(bench.home / "state.db")) as state, state:
        state.execute("DELETE FROM manifests")
    with emulate(bench) as port:
        sdk = client(port)
        (automatic,) = backups(sdk)
        assert automatic.backup_mode == "Automated"
        delete = models.DeleteBackupRequest(instance_id="orders", backup_id=str(automatic.backup_id))
        refused(lambda: sdk.delete_backup(delete), "IncorrectBackupSetState")
        refused(lambda: keep(sdk, automatic, moment(automatic.backup_start_time) + 30 * DAY), "IncorrectBackupSetState")
        assert len(backups(sdk)) == 1


class Clock:
    """The wall clock of an emulator, which a preloaded library sets ahead, and the dates that the SDK signs: a call of another time is refused."""

    def __init__(self, folder, monkeypatch):
        library, self.file = folder / "clock.so", folder / "clock"
        subprocess.run(
            [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library, ROOT / "tests/support/clock.c"], check=True, timeout=60
        )
        self.env = {"LD_PRELOAD": str(library), "TEST_CLOCK": str(self.file)}
        self.ahead = datetime.timedelta()
        self.file.write_bytes(bytes(8))
        monkeypatch.setattr(Utils, "get_timestamp", staticmethod(self.date))

    def date(self):
        return (datetime.datetime.now(datetime.timezone.utc) + self.ahead).strftime("%Y-%m-%dT%H:%M:%SZ")

    def set_ahead(self, by):
        self.ahead = by
        # In place: the emulator has mapped the file.
        with self.file.open("r+b") as file:
            file.write(struct.pack("=q", int(by.total_seconds()) * 10**9))


def test_a_set_expires(bench, tmp_path, monkeypatch):
    """A set is there until its time, which can be put off and never brought forward; from then on no call knows it, nor the next process."""
    clock = Clock(tmp_path, monkeypatch)
    with emulate(bench) as port:
        sdk = client(port)
        classic = back_up(sdk)
        refused(lambda: keep(sdk, classic, moment(classic.expect_expire_time) + DAY), "InstanceType.NotSupport")
    cloud_native(bench)
    with emulate(bench, **clock.env) as port:
        sdk = client(port)
        refused(lambda: back_up(sdk, backup_retention_period=6), "InvalidBackupRetentionPeriod.Malformed")
        # By the policy that nobody has set, for as many days as the call says, and for ever.
        week, month, ever = back_up(sdk), back_up(sdk, backup_retention_period=30), back_up(sdk, backup_retention_period=-1)
        begun = moment(week.backup_start_time)
        assert moment(week.expect_expire_time) == begun + 7 * DAY, week
        assert not ever.expect_expire_time, ever

        def listed():
            return {str(row.backup_id) for row in backups(sdk)}

        def ids(*rows):
            return {str(row.backup_id) for row in rows}

        refused(lambda: keep(sdk, week, begun + 6 * DAY), "InvalidParameter")
        # What is kept for ever has no time that could be put off.
        refused(lambda: keep(sdk, ever, begun + 60 * DAY), "InvalidParameter")
        off = begun.replace(second=0) + 10 * DAY
        keep(sdk, week, off)
        (row,) = [row for row in backups(sdk) if row.backup_id == week.backup_id]
        assert moment(row.expect_expire_time) == off, row

        # By then the week is over of the set that was taken before.
        clock.set_ahead(8 * DAY)
        assert listed() == ids(week, month, ever)
        clock.set_ahead(11 * DAY)
        assert listed() == ids(month, ever)
        gone = models.DeleteBackupRequest(instance_id="orders", backup_id=str(week.backup_id))
        refused(lambda: sdk.delete_backup(gone), "InvalidBackupSetID.NotFound")
        refused(lambda: keep(sdk, week, begun + 60 * DAY), "InvalidBackupSetID.NotFound")
        clock.set_ahead(31 * DAY)
        assert listed() == ids(ever)
    with emulate(bench, **clock.env) as port:
        sdk = client(port)
        assert listed() == ids(ever)
        sdk.delete_backup(models.DeleteBackupRequest(instance_id="orders", backup_id=str(ever.backup_id)))
        assert listed() == set()


def test_the_policy_is_kept(bench):
    """What is set is read back, also by the emulator's next process; what cannot be is refused in the cloud's words."""

    def change(sdk, **more):
        fields = {"preferred_backup_time": "03:00Z-04:00Z", "preferred_backup_period": DAYS, "backup_retention_period": 30, **more}
        return sdk.modify_backup_policy(models.ModifyBackupPolicyRequest(instance_id="orders", **fields))

    def policy(sdk):
        return sdk.describe_backup_policy(models.DescribeBackupPolicyRequest(instance_id="orders")).body

    with emulate(bench) as port:
        sdk = client(port)
        change(sdk)
        refused(lambda: change(sdk, backup_retention_period=3), "InvalidBackupRetentionPeriod.Malformed")
        refused(lambda: change(sdk, preferred_backup_period="Caturday"), "InvalidPreferredBackupPeriod.Malformed")
    with emulate(bench) as port:
        now = policy(client(port))
        assert (now.preferred_backup_time, now.backup_retention_period) == ("03:00Z-04:00Z", "30"), now
        assert set(now.preferred_backup_period.split(",")) == set(DAYS.split(",")), now


def test_the_append_only_file(bench):
    """Of an instance's parameters appendonly can be changed, and is read back; what else is asked for is refused in the cloud's words."""
    with emulate(bench) as port:
        sdk = client(port)

        def change(config):
            return sdk.modify_instance_config(models.ModifyInstanceConfigRequest(instance_id="orders", config=config))

        def running():
            found = sdk.describe_parameters(models.DescribeParametersRequest(dbinstance_id="orders")).body
            return {row.parameter_name: row.parameter_value for row in found.running_parameters.parameter}

        assert running()["appendonly"] == "no", running()
        change('{"appendonly":"yes"}')
        assert (running()["appendonly"], running()["appendfsync"]) == ("yes", "everysec"), running()
        refused(lambda: change('{"save":""}'), "ParamNotSupportedForCurrentVersion")
        refused(lambda: change("appendonly"), "InvalidParameters.Format")


def second():
    """A whole second that has just begun, as the API writes it: what was written before is of that second's data, what follows is not."""
    begun = int(time.time()) + 1
    until("second", lambda: time.time() >= begun + 0.05)
    return datetime.datetime.fromtimestamp(begun, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_data_flashback(bench):
    """The documented way back: flashback is switched on, and RestoreType 1 with a RestoreTime in UTC brings that second's data back."""
    orders = bench.orders
    orders.fill()
    shown_as(bench, "flashback = true")

    def to(at, **more):
        return models.RestoreInstanceRequest(instance_id="orders", restore_type="1", restore_time=at, **more)

    with emulate(bench) as port:
        sdk = client(port)
        refused(lambda: sdk.restore_instance(to(second())), "InvalidBinlog.NotValid")
        hours = {"preferred_backup_time": "03:00Z-04:00Z", "preferred_backup_period": DAYS}
        sdk.modify_backup_policy(models.ModifyBackupPolicyRequest(instance_id="orders", enable_backup_log=1, **hours))

        def policy():
            return sdk.describe_backup_policy(models.DescribeBackupPolicyRequest(instance_id="orders")).body

        since = until("start of the log", lambda: policy().backup_log_start_time)
        assert policy().enable_backup_log == 1
        attribute = sdk.describe_instance_attribute(models.DescribeInstanceAttributeRequest(instance_id="orders"))
        assert attribute.body.instances.dbinstance_attribute[0].backup_log_start_time == since

        orders.cli("SET", "last", "before the mistake")
        before, good = orders.digest(), second()
        orders.damage()
        damaged, bad = orders.digest(), second()
        sdk.restore_instance(to(good))
        until("end of the restore", lambda: status(sdk) == "Normal")
        assert orders.digest() == before
        # And the way back of that is a second too.
        sdk.restore_instance(to(bad))
        until("end of the restore", lambda: status(sdk) == "Normal")
        assert orders.digest() == damaged

        earlier = datetime.datetime.fromisoformat(since.replace("Z", "+00:00")) - datetime.timedelta(seconds=1)
        refused(lambda: sdk.restore_instance(to(earlier.strftime("%Y-%m-%dT%H:%M:%SZ"))), "InvalidBinlog.NotValid")
        refused(lambda: sdk.restore_instance(to("2049-01-15T10:30:00Z")), "InvalidRestoreTime.Format")
        refused(lambda: sdk.restore_instance(to("2024-01-15 10:30:00")), "InvalidRestoreTime.Format")
        refused(lambda: sdk.restore_instance(to(good, backup_id="1")), "ResroreParamNotMatch")
        assert orders.digest() == damaged


def test_some_keys_go_back(bench, monkeypatch):
    """The documented FilterKey, a list of regular expressions with RestoreType 1: keys that match go back and those that were not there
    are gone, all others stay; a key has to match as a whole, and TimeShift is where its remaining time counts on from."""
    orders = bench.orders
    # What the moment is built with.
    monkeypatch.setenv("TAIR_BACKUP_MCP_SANDBOX_SERVER", str(orders.server))
    shown_as(bench, "flashback = true")

    def to(at, keys, **more):
        return models.RestoreInstanceRequest(
            instance_id="orders", restore_type="1", restore_time=at, filter_key=keys, **more
        )

    def get(*keys):
        return [orders.cli("GET", key) for key in keys]

    with emulate(bench) as port:
        sdk = client(port)
        hours = {"preferred_backup_time": "03:00Z-04:00Z", "preferred_backup_period": DAYS}
        sdk.modify_backup_policy(models.ModifyBackupPolicyRequest(instance_id="orders", enable_backup_log=1, **hours))
        orders.cli("MSET", "hllo", "then", "hello", "then", "heello", "then", "key:000000071980", "then", "key:1", "then")
        orders.cli("SET", "hillo", "then", "EX", "600")
        at = second()
        orders.cli("MSET", "hllo", "now", "hallo", "now", "heello", "now", "key:000000071980", "now", "key:1", "now")
        orders.cli("DEL", "hello", "hillo")
        second()
        shift = second()

        # "h.?llo" is "hllo" or a letter between; "heello" only contains nothing that matches as a whole.
        sdk.restore_instance(to(at, "h.?llo", time_shift=shift))
        until("end of the restore", lambda: status(sdk) == "Normal")
        assert get("hllo", "hello", "hillo", "hallo") == ["then", "then", "then", ""]
        assert get("heello", "key:1") == ["now", "now"]
        assert int(orders.cli("TTL", "hillo")) > 590

        # A glob is a regular expression too, and means what it says: "key:00000007198" and any number of 8s.
        sdk.restore_instance(to(at, "session:*,key:00000007198*"))
        until("end of the restore", lambda: status(sdk) == "Normal")
        assert get("key:000000071980") == ["now"]
        sdk.restore_instance(to(at, "key:00000007198.*,h.*llo"))
        until("end of the restore", lambda: status(sdk) == "Normal")
        assert get("key:000000071980", "heello", "key:1") == ["then", "then", "now"]

        refused(lambda: sdk.restore_instance(to(at, "key:[")), "InvalidParameter")
        refused(lambda: sdk.restore_instance(to(at, "key:1", backup_id="1")), "ResroreParamNotMatch")
        back_up(sdk)
        whole = models.RestoreInstanceRequest(instance_id="orders", backup_id="1", filter_key="key:1")
        refused(lambda: sdk.restore_instance(whole), "ResroreParamNotMatch")
        assert get("key:1") == ["now"]


def test_a_new_instance_of_a_second(make_bench):
    """Cloud-native: the data of a second begins a new instance, and the source stays as it is."""
    bench = make_bench("orders", "spare")
    orders, spare = bench.redis["orders"], bench.redis["spare"]
    config = bench.config.read_text().split("\n\n")
    native = 'emulate = { generation = "cloud_native", flashback = true }'
    bench.config.write_text(f"{config[0]}\n{native}\n{config[1]}\nemulate = {{ spare = true }}\n")
    orders.fill()
    with emulate(bench) as port:
        sdk = client(port)
        new = {
            "region_id": "cn-hangzhou", "instance_class": "tair.rdb.1g", "instance_type": "tair_rdb", "vpc_id": "vpc-1", "v_switch_id": "vsw-1",
            "charge_type": "PostPaid", "src_dbinstance_id": "orders",
        }

        def create(at):
            return sdk.create_tair_instance(models.CreateTairInstanceRequest(restore_time=at, **new)).body

        refused(lambda: create(second()), "InvalidBackupLogStatus")
        hours = {"preferred_backup_time": "03:00Z-04:00Z", "preferred_backup_period": DAYS}
        sdk.modify_backup_policy(models.ModifyBackupPolicyRequest(instance_id="orders", enable_backup_log=1, **hours))
        before, good = orders.digest(), second()
        orders.damage()
        damaged = orders.digest()
        refused(lambda: create("2024-01-15T10:30:00Z"), "InvalidBinlog.NotValid")
        made = create(good)
        assert made.instance_status == "Creating", made
        until("new instance", lambda: status(sdk, made.instance_id) == "Normal")
        # Servers list the functions of a library in orders of their own.
        keys, _, keyspace = spare.digest()
        assert (keys, keyspace, orders.digest()) == (before[0], before[2], damaged)
        assert "fill_len" in spare.cli("FUNCTION", "LIST")


def test_errors_are_the_sdks_own(bench):
    """Refusals arrive as the SDK's typed errors with the cloud's codes, and say which request it was."""
    with emulate(bench) as port:
        sdk = client(port)
        wrong = client(port, secret="another")
        denied = refused(lambda: status(wrong), "SignatureDoesNotMatch")
        assert denied.request_id and denied.status_code in (400, 403), denied
        refused(lambda: status(sdk, "nobody"), "InvalidInstanceId.NotFound")
        refused(lambda: sdk.describe_backups(models.DescribeBackupsRequest(instance_id="orders")), "MissingParameter")
        restore = models.RestoreInstanceRequest(instance_id="orders", restore_type="1", restore_time="2026-01-02T03:04:05Z")
        refused(lambda: sdk.restore_instance(restore), "ServiceNotSupport")
        assert status(sdk) == "Normal"


def test_both_signatures(bench):
    """The older signature (V1, HMAC-SHA1) opens the same doors."""
    with emulate(bench) as port:
        assert status(client(port, signature_algorithm="v2")) == "Normal"
        refused(lambda: status(client(port, secret="another", signature_algorithm="v2")), "SignatureDoesNotMatch")


def test_faults(bench):
    """Throttling and failures of the server come as the SDK knows them, with the wait that the cloud names."""
    with emulate(bench, "--mishap", "throttle,action=DescribeBackups,retry_after_ms=1500", "--mishap", "error,action=CreateBackup") as port:
        sdk = client(port)
        throttled = refused(lambda: backups(sdk), "Throttling.User", ThrottlingException)
        assert throttled.retry_after == 1500, throttled
        assert backups(sdk) == []
        request = models.CreateBackupRequest(instance_id="orders")
        refused(lambda: sdk.create_backup(request), "ServiceUnavailable", ServerException)
        assert backups(sdk) == []


def test_urls_expire(bench):
    """A download URL works for as long as it says, and not a second longer; an altered one not at all."""
    with emulate(bench, "--url-seconds", "5") as port:
        sdk = client(port)
        back_up(sdk)
        # The one of this listing has all of its time left.
        (row,) = backups(sdk)
        url = row.backup_download_url

        def gone(url=url):
            try:
                with urllib.request.urlopen(url) as reply:
                    assert len(reply.read()) == row.backup_size
            except urllib.error.HTTPError as e:
                return e.code == 403 and e.read()
            return None

        assert gone() is None, "refused before its time"
        expires = re.search(r"Expires=(\d+)", url)[1]
        altered = url.replace(f"Expires={expires}", f"Expires={int(expires) + 3600}")
        assert b"<Code>SignatureDoesNotMatch</Code>" in gone(altered)
        body = until("expiry of the URL", gone, within=10)
        assert b"<Code>AccessDenied</Code>" in body, body


@pytest.mark.anyio
async def test_async_calls(bench):
    """The SDK's asynchronous half signs and reads the same."""
    with emulate(bench) as port:
        sdk = client(port)
        request = models.DescribeInstanceAttributeRequest(instance_id="orders")
        replies = await asyncio.gather(*(sdk.describe_instance_attribute_async(request) for _ in range(5)))
        assert len({it.body.request_id for it in replies}) == 5
