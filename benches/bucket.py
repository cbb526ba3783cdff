"""What `benches/run` measures of a vault in a bucket."""

import os
import shutil
import subprocess
import time
from pathlib import Path

BUCKET = "bench"
# weed listens at each of its ports and at ten thousand more.
HIGHEST_PORT = 55_000


class Bucket:
    """Part of the bench that `benches/run` is."""

    def bucket(self):
        aws = shutil.which("aws")
        if not aws:
            self.notes.append("bucket: SKIPPED, for aws is not in PATH (pip install awscli)")
            return
        source, store, file, named = self.source(), self.store(aws), self.dir / "back.rdb", self.config.read_text()
        self.config.write_text(f'vault = "s3://{BUCKET}/sets?endpoint={store}"\n{named}')
        copy, redis = f"{aws} s3 cp --quiet --endpoint-url {store}", f"redis-cli -p {source.port} --rdb -"
        up, up_peer, back, back_peer, peaks, sets = [], [], [], [], [], []

        def mine():
            ran, backup_id = self.backup()
            sets.append(backup_id)
            fetched = self.ours("download-backup", "--instance-id", "bench", "--backup-id", backup_id)
            up.append(ran.seconds)
            back.append(fetched.seconds)
            peaks.extend((ran.peak, fetched.peak))
            shutil.rmtree(self.home / "downloads")

        def theirs():
            # As the server sends it: nothing of it is on a disk of ours.
            to = f"s3://{BUCKET}/peer/{len(up_peer)}.rdb"
            up_peer.append(self.ran(["sh", "-c", f"{redis} 2>/dev/null | {copy} - {to}"]).seconds)
            back_peer.append(self.ran(["sh", "-c", f"{copy} {to} {file}"]).seconds)
            self.bytes = file.stat().st_size
            file.unlink()

        self.alternate(mine, theirs)
        ran, _, _ = self.restored(["--backup-id", sets[-1]])
        peaks.append(ran.peak)
        self.row("capture into a bucket, against redis-cli --rdb piped into aws s3 cp", up, up_peer, "s", "≤ 1.00 ×", lambda r: r <= 1.0)
        self.row("download from a bucket, against aws s3 cp of the plain data", back, back_peer, "s", "≤ 1.00 ×", lambda r: r <= 1.0)
        self.row("memory of those, and of a restore from a bucket", [max(peaks)], [], "MB", "≤ 64 MB", lambda _: max(peaks) <= 64)
        self.notes.append(f"bucket: {self.bytes / 1e6:,.0f} MB of RDB, by SeaweedFS on this machine")
        self.config.write_text(named)

    def store(self, aws):
        """Starts an S3 server with an empty bucket, whose key is in the environment from now on; its address."""
        servers = Path(os.environ.get("SERVERS_DIR") or Path(__file__).resolve().parent.parent / "target/servers")
        folder, taken = self.dir / "weed", set()
        folder.mkdir()
        while len(taken) < 5:
            port = self.free_port()
            if port <= HIGHEST_PORT:
                taken.add(port)
        s3, *others = taken
        os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="of-the-bench", AWS_REGION="us-east-1",
                          AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null")
        ports = [f"-{of}.port={port}" for of, port in zip(("master", "volume", "filer", "admin"), others)]
        with (folder / "log").open("w") as log:
            self.services.append(subprocess.Popen(
                [servers / "seaweedfs-4.48/weed", "mini", "-dir", folder, "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-bucket", BUCKET,
                 f"-s3.port={s3}", *ports, "-webdav=false", "-admin.ui=false", "-master.telemetry=false", "-s3.port.iceberg=0",
                 "-s3.port.lance=0"], stdout=log, stderr=log))
        address, until = f"http://127.0.0.1:{s3}", time.monotonic() + 60
        while subprocess.run([aws, "--endpoint-url", address, "s3", "ls", f"s3://{BUCKET}"], capture_output=True).returncode:
            if time.monotonic() > until:
                raise RuntimeError(f"the S3 server does not begin, see {folder}/log")
            time.sleep(0.1)
        return address
