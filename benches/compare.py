"""What `benches/run` measures of the comparison of two sets."""

import json
import shutil
import subprocess

# Keys for each megabyte that is asked for, so that the usual size has three millions.
KEYS_PER_MEGABYTE = 2500


class Compare:
    """Part of the bench that `benches/run` is."""

    def compare(self):
        server, keys = self.server("compare", "--enable-debug-command", "yes"), self.options.megabytes * KEYS_PER_MEGABYTE
        self.say(f"making {keys:,} keys")
        self.name(server)
        shutil.rmtree(self.home, ignore_errors=True)
        hashes, changed = keys // 3, keys // 10
        server.cli("DEBUG", "POPULATE", str(keys - hashes), "session", "100")
        self.pipe(server, (f"HSET user:{n} name name{n} visits {n % 1000} last {n * 7}" for n in range(hashes)))
        _, now = self.backup()
        # A tenth each is lost, changed and added, of strings and of hashes.
        self.pipe(server, (f"DEL {('session', 'user')[n % 2]}:{n}" for n in range(changed)))
        self.pipe(server, (f"SET session:{n} other" if n % 2 else f"HSET user:{n} visits other" for n in range(changed, 2 * changed)))
        self.pipe(server, (f"SET new:{n} value" for n in range(changed)))
        _, then = self.backup()
        server.stop()
        ours, peer, peaks = [], [], []
        expected = {"lost": changed, "changed": changed, "added": changed, "untouched": keys - 2 * changed}

        def mine():
            ran = self.ours("compare-backups", "--instance-id", "bench", now, then, fine=(1,))
            found = json.loads(ran.out)["keys"]
            if found.get("not_compared") or any(found[name] != count for name, count in expected.items()):
                raise RuntimeError(f"expected {expected}: {ran.out}")
            ours.append(ran.seconds)
            peaks.append(ran.peak)

        def theirs():
            peer.append(self.ran([self.built["verify"], "set", self.home / "vault", "bench", now]).seconds)

        # The first round brings the files into the page cache.
        theirs()
        mine()
        for times in (ours, peer, peaks):
            times.clear()
        self.alternate(mine, theirs)
        self.row(f"compare {keys / 1e6:.1f} M keys with as many, against verifying one of the sets", ours, peer, "s", "≤ 3.00 ×", lambda r: r <= 3.0)
        self.row("memory of that", [max(peaks)], [], "MB", "≤ 64 MB", lambda _: max(peaks) <= 64)
        for backup_id in (now, then):
            self.forget(backup_id)

    def pipe(self, server, commands):
        """Sends commands, which are words between spaces."""
        pipe = subprocess.Popen(["redis-cli", "-p", str(server.port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for command in commands:
            pipe.stdin.write(command.encode() + b"\r\n")
        pipe.stdin.close()
        if pipe.wait():
            raise RuntimeError("redis-cli --pipe failed")
