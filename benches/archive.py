"""What `benches/run` measures of the log of an instance: moments, replay, and what keeping it costs.

The servers have no other work, and one run of bytes (benches/writes) is written to both sides of each comparison.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

WRITES = Path(__file__).resolve().parent / "writes"
AOF = ["--appendonly", "yes", "--aof-timestamp-enabled", "yes", "--enable-debug-command", "yes", "--repl-backlog-size", "256mb"]
# Megabytes a second of the stream at which the lag of a log is measured, and what is asked of the writer for them: what changes nothing is in no stream.
RATE, ASKED = 50, 54
# Neither side loses its link to what waits for it.
PATIENT = ["--repl-backlog-size", "3gb", "--client-output-buffer-limit", "replica 0 0 0", "--repl-timeout", "600"]


def cpu(pid):
    """Seconds of CPU that a process has used, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write(server, **options):
    args = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return json.loads(subprocess.run([sys.executable, WRITES, "--port", str(server.port), *args], check=True, capture_output=True).stdout)


def next_second():
    """Waits until a whole second is over, and gives it."""
    second = int(time.time()) + 1
    while time.time() <= second + 0.01:
        time.sleep(0.005)
    return second


def utc(second):
    return datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Archive:
    """Part of the bench that `benches/run` is."""

    def keep_log(self, server):
        """Starts the service for a server, and waits until its log has begun. A home of its own: the next server is another instance."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.name(server)
        with self.config.open("a") as config:
            config.write("enable_backup_log = true\n")
        command = [self.built["tair-backup-mcp"], "--home", self.home, "--config", self.config, "run"]
        service = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.services.append(service)
        server.cli("SET", "begun", "1")
        while self.told() is None:
            if service.poll() is not None:
                raise RuntimeError(f"run ended:\n{service.stderr.read().decode()}")
            time.sleep(0.02)
        return service

    def told(self):
        """Up to when the log is on this machine's disk, as it tells others."""
        try:
            told = json.loads((self.home / "spool" / "bench.json").read_text())["spooled_until"]
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return told and datetime.fromisoformat(told.replace("Z", "+00:00")).timestamp()

    def spooled(self):
        """Offset up to which the stream is in the spool; `None` where no file tells just now. Each record says how long it is."""
        files = sorted((self.home / "spool").rglob("*.spool"))
        try:
            with files[-1].open("rb") as file:
                size, offset = os.fstat(file.fileno()).st_size, None
                file.seek(8)
                while file.tell() + 28 <= size:
                    length = int.from_bytes(file.read(28)[:4], "little")
                    if file.tell() + length > size:
                        break
                    if offset is None:
                        offset = json.loads(file.read(length))["first"]
                    else:
                        offset += length
                        file.seek(length, os.SEEK_CUR)
                return offset
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def end_log(self, service):
        """Ends the service, which brings all of the log to the vault."""
        service.send_signal(signal.SIGTERM)
        if service.wait(120):
            raise RuntimeError(f"run failed:\n{service.stderr.read().decode()}")

    def segments(self):
        """Bytes of the stream in the log, and bytes that it takes."""
        files = list((self.home / "vault" / ".log").rglob("*.seg"))
        offsets = [[int(part) for part in file.name.split("-")[:2]] for file in files]
        return sum(last - first for first, last in offsets), sum(file.stat().st_size for file in files)

    def rewritten(self, server):
        server.cli("BGREWRITEAOF")
        while server.info("aof_rewrite_in_progress") or server.info("aof_rewrite_scheduled"):
            time.sleep(0.02)

    def aof_at(self, saved, second, expected, name):
        """Seconds that the server's own tool and a start on what it leaves take, its exit code, and whether that is what was there."""
        server = self.server_on(saved, name)
        tool = self.dir / "redis-check-aof"
        if not tool.exists():
            tool.symlink_to(shutil.which("redis-server"))
        os.sync()
        self.touch(self.options.megabytes * 600_000)
        manifest = server.dir / "appendonlydir" / "appendonly.aof.manifest"
        started = time.monotonic()
        cut = subprocess.run([tool, "--truncate-to-timestamp", str(second), manifest], stdout=subprocess.DEVNULL)
        server.start()
        server.serves()
        seconds = time.monotonic() - started
        right = server.cli("DEBUG", "DIGEST") == expected
        server.kill()
        shutil.rmtree(server.dir)
        return seconds, cut.returncode, right

    def is_right(self, server, expected):
        if server.cli("DEBUG", "DIGEST") != expected:
            raise RuntimeError("the restored server does not hold what was there at that second")

    def moment(self):
        server = self.server("moment", *AOF, "--auto-aof-rewrite-percentage", "0")
        say, commands = self.say, self.options.megabytes * 2500
        subprocess.run([self.fill, "--port", str(server.port), "--megabytes", str(self.options.megabytes // 4), "--quiet"], check=True)
        self.rewritten(server)
        service = self.keep_log(server)
        say(f"writing {commands:,} commands")
        write(server, commands=commands)
        second, expected = next_second(), server.cli("DEBUG", "DIGEST")
        write(server, commands=commands // 10, seed=2)
        self.end_log(service)
        saved = self.dir / "saved"
        # Without the file the target has nothing else to do.
        server.cli("CONFIG", "SET", "appendonly", "no")
        shutil.copytree(server.dir / "appendonlydir", saved)
        ours, peer, peaks, plans = [], [], [], []

        def mine():
            before = lambda: (os.sync(), self.touch(self.options.megabytes * 600_000))
            ran, job, plan = self.restored(["--restore-time", utc(second)], before)
            ours.append((job["serving_at"] - job["created_at"]) / 1000)
            peaks.append(ran.peak)
            plans.append(plan)
            self.is_right(server, expected)
            self.forget_all_but(plan["base_backup_id"])

        def theirs():
            seconds, code, right = self.aof_at(saved, second, expected, "cut")
            if code or not right:
                raise RuntimeError("redis-check-aof did not make what was there at that second")
            peer.append(seconds)

        self.alternate(mine, theirs)
        self.row("restore to a second, against redis-check-aof --truncate-to-timestamp and a start", ours, peer, "s", "≤ 0.60 ×", lambda r: r <= 0.6)
        raw, packed = self.segments()
        self.notes.append(f"moment: {int(plans[0]['commands_replayed']):,} commands behind a set of {self.options.megabytes // 4} MB, "
                          f"{raw / 1e6:,.0f} MB of log; peak {max(peaks):.0f} MB resident")
        shutil.rmtree(saved)
        server.kill()
        self.rewritten_meanwhile()

    def rewritten_meanwhile(self):
        """The same where the server rewrites its file by itself, as it does by default."""
        server = self.server("rewritten", *AOF)
        service = self.keep_log(server)
        write(server, commands=100_000)
        second, expected = next_second(), server.cli("DEBUG", "DIGEST")
        rewrites = server.info("aof_rewrites")
        # The size that the file is rewritten at is 64 MB.
        while server.info("aof_rewrites") == rewrites or server.info("aof_rewrite_in_progress"):
            write(server, commands=200_000, seed=2)
        self.end_log(service)
        server.cli("CONFIG", "SET", "appendonly", "no")
        saved = self.dir / "saved"
        shutil.copytree(server.dir / "appendonlydir", saved)
        _, code, right = self.aof_at(saved, second, expected, "cut")
        self.restored(["--restore-time", utc(second)])
        self.is_right(server, expected)
        self.rows.append(("the same after the server's own rewrite", "the right state",
                          f"{'the right' if right else 'another'} state, exit {code}", "", "right", "met"))
        shutil.rmtree(saved)
        server.kill()

    def replay(self):
        commands = self.options.megabytes * 5000
        source = self.server("replayed", *PATIENT)
        service = self.keep_log(source)
        write(source, commands=commands)
        second = next_second()
        source.cli("SET", "later", "1")
        self.end_log(service)
        ours, peer, replayed = [], [], []

        def mine():
            _, job, plan = self.restored(["--restore-time", utc(second)], os.sync)
            replayed.append(int(plan["commands_replayed"]))
            ours.append(replayed[0] / (job["serving_at"] - job["created_at"]) / 1000)
            self.forget_all_but(plan["base_backup_id"])

        def theirs():
            master, replica = self.server("master", *PATIENT), self.server("replica", *PATIENT)
            self.follow(replica, master)
            # What is written while the replica stands still waits for it.
            replica.process.send_signal(signal.SIGSTOP)
            write(master, commands=commands)
            end = master.info("master_repl_offset")
            started = time.monotonic()
            replica.process.send_signal(signal.SIGCONT)
            while replica.info("slave_repl_offset") < end:
                time.sleep(0.005)
            peer.append(replayed[0] / (time.monotonic() - started) / 1e6)
            for server in (replica, master):
                server.kill()
                shutil.rmtree(server.dir)

        mine()
        ours.clear()
        self.alternate(mine, theirs)
        rate, followed = statistics.median(ours), statistics.median(peer)
        self.row("commands applied in a restore to a moment, against a replica of a stock master", ours, peer, "M/s",
                 "≥ 1.5 M/s or ≥ 0.95 ×", lambda r: rate >= 1.5 or r >= 0.95)
        raw, _ = self.segments()
        self.notes.append(f"replay: {replayed[0]:,} commands, {raw / 1e6:,.0f} MB; {raw / replayed[0] * rate:,.0f} MB/s, followed {raw / replayed[0] * followed:,.0f} MB/s")
        source.kill()

    def follow(self, replica, master):
        replica.cli("REPLICAOF", "127.0.0.1", str(master.port))
        while "master_link_status:up" not in replica.cli("INFO", "replication"):
            time.sleep(0.02)

    def log(self):
        commands, seconds = self.options.megabytes * 2000, self.options.seconds
        used = {"alone": [], "ours": [], "peer": []}

        def measured(side, attach):
            server = self.server("source", *PATIENT)
            detach = attach(server)
            before = cpu(server.process.pid)
            done = write(server, commands=commands)
            used[side].append((cpu(server.process.pid) - before) / done["commands"] * 1e6)
            detach()
            server.kill()
            shutil.rmtree(server.dir)

        def logged(server):
            service = self.keep_log(server)
            return lambda: self.end_log(service)

        def replicated(server):
            replica = self.server("beside", *PATIENT)
            self.follow(replica, server)
            return lambda: (replica.kill(), shutil.rmtree(replica.dir))

        def alone(server):
            return lambda: None

        measured("alone", alone)
        self.alternate(lambda: measured("ours", logged), lambda: measured("peer", replicated))
        self.row("CPU of the source for a million commands, log kept, against one replica", used["ours"], used["peer"], "s", "≤ 1.10 ×", lambda r: r <= 1.1)
        self.notes.append(f"log: the source alone {used['alone'][0]:.2f} s for a million commands")

        server = self.server("source", *PATIENT)
        service = self.keep_log(server)
        first = server.info("master_repl_offset")
        # Larger commands: of small ones a server takes fewer bytes a second than that, with one core to itself.
        writer = subprocess.Popen([sys.executable, WRITES, "--port", str(server.port), "--seconds", str(seconds), "--goods", "120",
                                   "--megabytes-per-second", str(ASKED)],
                                  stdout=subprocess.PIPE)
        lags, before = [], cpu(service.pid)
        # Commands are made before the first is sent.
        while server.info("total_commands_processed") < 5000:
            time.sleep(0.02)
        began, source, ended = time.time(), [(time.time(), first)], None
        while ended is None or (self.spooled() or 0) < ended:
            over = writer.poll() is not None
            source.append((time.time(), server.info("master_repl_offset")))
            ended = ended or (source[-1][1] if over else None)
            # A log ends where its last byte came, and what waits at the source has not come: the later of the two counts. Before the
            # first write it is not behind.
            disk, spooled, now = self.told(), self.spooled() or 0, time.time()
            came = next((at for at, offset in reversed(source) if offset <= spooled), began)
            lags.append(now - max(came, began) if spooled < source[-1][1] else 0.0)
            if not over:
                lags[-1] = max(lags[-1], now - max(disk, began))
            time.sleep(0.1)
        # Of the stream itself, by the clock of what writes: it ends when the server has taken all of it.
        rate = (server.info("master_repl_offset") - first) / json.loads(writer.stdout.read())["seconds"] / 1e6
        spent = cpu(service.pid) - before
        peak = next(int(line.split()[1]) for line in Path(f"/proc/{service.pid}/status").read_text().splitlines() if line.startswith("VmHWM")) / 1000
        self.end_log(service)
        raw, packed = self.segments()
        reached, behind = rate >= RATE, max(lags)
        self.row(f"rate of the stream that the log is measured at, for {seconds} s", [rate], [], "MB/s", f"≥ {RATE} MB/s", lambda _: reached, "")
        # A log that keeps up with less has shown nothing of that rate.
        good = (lambda _: behind <= 2) if reached or behind > 2 else None
        self.row(f"how far the log is behind at {rate:.1f} MB/s for {seconds} s, at most", [behind], [], "s", f"≤ 2 s at {RATE} MB/s", good, "")
        self.row("memory of `run` then, at most", [peak], [], "MB", "≤ 64 MB", lambda _: peak <= 64, "")
        self.row("size of the log, against the stream", [packed / 1e6], [raw / 1e6], "MB", "≤ 0.30 ×", lambda r: r <= 0.3)
        self.notes.append(f"log: {spent / raw * 1e9:.1f} s of CPU for a gigabyte in `run`, behind by {statistics.median(lags):.1f} s in the middle")
        server.kill()
