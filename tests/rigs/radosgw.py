"""A real object store on the loopback: Ceph's monitor, one storage daemon and its S3 gateway.

Unlike moto it checks signatures and keeps its data through a kill. Needs the Debian packages `radosgw`,
`ceph-mon` and `ceph-osd`; takes about 15 s to start. Does not know pytest. By hand:

    python -m tests.rigs.radosgw /tmp/store 9000     runs until interrupted, and prints how to reach it
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.rigs.endpoint import Endpoint, free_port
from tests.waiting import wait_for

PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_START_TIMEOUT_S = 120

# Authentication stays on: with it off the gateway hangs. One copy of everything is all that one daemon holds.
_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{monitor_port}]
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = false
keyring = {directory}/keyring
run dir = {directory}
admin socket = {directory}/$name.$pid.asok
log file = {directory}/$name.log
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
[mon]
mon data = {directory}/monitor
[osd]
osd data = {directory}/storage
osd memory target = 939524096
osd class load list = *
osd class default list = *
bluestore block size = 8589934592
[client.gateway]
rgw frontends = beast endpoint=127.0.0.1:{gateway_port}
rgw override bucket index max shards = 1
"""


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name) is None]


@dataclass(slots=True)
class RadosGateway:
    """The three daemons over one directory. `kill` then `start` finds the data again."""

    directory: Path
    gateway_port: int = field(default_factory=free_port)
    access_key: str = "rados-access"
    secret_key: str = "rados-secret"
    _daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{self.gateway_port}", self.access_key, self.secret_key)

    def start(self) -> None:
        is_new = not (self.directory / "ceph.conf").exists()
        if is_new:
            self._make_monitor()
        self._daemon("ceph-mon", "-i", "a")
        if is_new:
            self._make_storage()
        self._daemon("ceph-osd", "-i", "0")
        self._daemon("radosgw", "-n", "client.gateway")
        self._wait_until_it_answers()
        if is_new:
            self._run(
                "radosgw-admin", "-n", "client.gateway", "user", "create", "--uid=quire",
                "--display-name=quire", f"--access-key={self.access_key}", f"--secret-key={self.secret_key}",
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL to all three, the gateway first."""
        for daemon in reversed(self._daemons):
            daemon.kill()
            daemon.wait(timeout=60)
        self._daemons.clear()

    def _make_monitor(self) -> None:
        for name in ("monitor", "storage"):
            (self.directory / name).mkdir(parents=True)
        fsid, monitor_port = str(uuid.uuid4()), free_port()
        (self.directory / "ceph.conf").write_text(
            _CONFIGURATION.format(
                fsid=fsid,
                directory=self.directory,
                monitor_port=monitor_port,
                gateway_port=self.gateway_port,
            )
        )
        self._add_key("mon.", mon="allow *")
        self._add_key("client.admin", mon="allow *", osd="allow *")
        self._add_key("client.gateway", mon="allow rwx", osd="allow rwx")
        monitor_map = str(self.directory / "monitor-map")
        address = f"[v2:127.0.0.1:{monitor_port}]"
        _checked("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monitor_map)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monitor_map, "--keyring", self._keyring)

    def _make_storage(self) -> None:
        secret = self._add_key("osd.0", mon="allow *", osd="allow *")
        storage_id = str(uuid.uuid4())
        request = json.dumps({"cephx_secret": secret})
        self._run("ceph", "--connect-timeout=60", "osd", "new", storage_id, "-i", "-", text=request)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", storage_id)

    @property
    def _keyring(self) -> str:
        return str(self.directory / "keyring")

    def _add_key(self, name: str, **capabilities: str) -> str:
        arguments = [word for kind, what in capabilities.items() for word in ("--cap", kind, what)]
        create = [] if (self.directory / "keyring").exists() else ["--create-keyring"]
        _checked("ceph-authtool", *create, self._keyring, "--gen-key", "-n", name, *arguments)
        return _checked("ceph-authtool", self._keyring, "-n", name, "-p").strip()

    def _run(self, program: str, *arguments: str, text: str = "") -> str:
        return _checked(program, "-c", str(self.directory / "ceph.conf"), *arguments, text=text)

    def _daemon(self, program: str, *arguments: str) -> None:
        command = [program, "-c", str(self.directory / "ceph.conf"), "-f", *arguments]
        with open(self.directory / f"{program}.out", "ab") as output:
            self._daemons.append(subprocess.Popen(command, stdout=output, stderr=output))

    def _wait_until_it_answers(self) -> None:
        def answers() -> bool:
            dead = [str(daemon.args) for daemon in self._daemons if daemon.poll() is not None]
            assert not dead, f"{dead} ended: {self._last_words()}"
            return _answers(self.endpoint.url)

        wait_for("radosgw to answer", answers, _START_TIMEOUT_S, saw=self._last_words)

    def _last_words(self) -> dict[str, str]:
        """The end of each log, by its name."""
        logs = sorted([*self.directory.glob("*.log"), *self.directory.glob("*.out")])
        return {log.name: log.read_text(errors="replace")[-500:] for log in logs}


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):
            return True
    except HTTPError as answer:
        answer.close()
        return True
    except (URLError, OSError):
        return False


def _checked(program: str, *arguments: str, text: str = "") -> str:
    """Output of a command; its complaints in the error if it fails."""
    done = subprocess.run([program, *arguments], input=text, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{program} failed ({done.returncode}): {done.stderr[-2000:]}")
    return done.stdout


@contextmanager
def radosgw(directory: Path, port: int | None = None) -> Iterator[RadosGateway]:
    """Run the store over a directory, new or of an earlier run, on a free port if none is named."""
    gateway = RadosGateway(directory, port or free_port())
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.kill()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either way to end it ends the daemons too
    with radosgw(Path(sys.argv[1]), int(sys.argv[2])) as running:
        sys.stdout.write(f"{running.endpoint.url} {running.access_key} {running.secret_key}\n")
        sys.stdout.flush()
        try:
            while True:
                signal.pause()
        except KeyboardInterrupt:
            pass
