"""Ray nodes on one machine that are apart as machines are: each in a network namespace of its own.

10.77.0.1  head, driver      ┐
10.77.0.2  namespace, raylet ┼ one bridge; taking a namespace's link down cuts it off, and kills nobody
10.77.0.3  namespace, raylet ┘
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

NETWORK, BRIDGE, PORT = "10.77.0", "motley0", 6399
PATIENCE = 120.0
"""Seconds for Ray to start."""
FILES = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray"
"""Where Ray has its sockets and logs."""
RAY = str(Path(sys.executable).with_name("ray"))


class Nodes:
    """A head in this machine's own network, and nodes in namespaces."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = os.environ | dict(environment)
        self._started: list[subprocess.Popen[bytes]] = []
        self._names: list[str] = []

    @property
    def address(self) -> str:
        """For RAY_ADDRESS."""
        return f"{NETWORK}.1:{PORT}"

    def begin(self, cpus: int) -> None:
        """The bridge and the head."""
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        self._ray(
            [],
            "--head",
            "--include-dashboard=false",
            f"--port={PORT}",
            f"--node-ip-address={NETWORK}.1",
            f"--num-cpus={cpus}",
        )
        deadline = time.monotonic() + PATIENCE
        while not _listens():
            if time.monotonic() > deadline:
                sys.exit(f"Ray's head did not listen at {self.address} within {PATIENCE:g} s.")
            time.sleep(0.5)

    def join(self, cpus: int) -> str:
        """A new node; returns its name."""
        number = len(self._names) + 2
        name = f"motley-{number}"
        self._names.append(name)
        _ip("netns", "add", name)
        _ip("link", "add", _end(name), "type", "veth", "peer", "name", "inside", "netns", name)
        _ip("link", "set", _end(name), "master", BRIDGE)
        _ip("link", "set", _end(name), "up")
        for device in ("lo", "inside"):
            _ip("-n", name, "link", "set", device, "up")
        _ip("-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "inside")
        where = f"--node-ip-address={NETWORK}.{number}"
        # `ip netns exec` mounts for itself: what Ray writes here is in no other node's way, as on another machine.
        apart = ["ip", "netns", "exec", name, "sh", "-c", f'mount -t tmpfs none "{FILES}" && exec "$@"', "sh"]
        self._ray(apart, f"--address={self.address}", where, f"--num-cpus={cpus}")
        return name

    def cut_off(self, name: str) -> None:
        """Nothing gets to it or from it any more; its processes go on."""
        _ip("link", "set", _end(name), "down")

    def kill(self, name: str) -> None:
        """All of its processes, by a signal that nothing can catch."""
        for process in _ip("netns", "pids", name).split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)

    def end(self) -> None:
        """End everything that was started here."""
        for name in self._names:
            self.kill(name)
            # The kernel takes a namespace away some time after its last process, and its link with it.
            subprocess.run(["ip", "link", "del", _end(name)], check=False)
            subprocess.run(["ip", "netns", "del", name], check=False)
        for process in self._started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        subprocess.run(["ip", "link", "del", BRIDGE], check=False)

    def _ray(self, before: list[str], *options: str) -> None:
        command = [*before, RAY, "start", "--block", "--disable-usage-stats", *options]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._started.append(subprocess.Popen(command, env=self._environment, start_new_session=True, **quiet))  # type: ignore[call-overload]


@contextmanager
def namespaces(environment: Mapping[str, str], *, head_cpus: int) -> Iterator[Nodes]:
    """A head with so many CPUs, while this lasts.

    Raises:
        SystemExit: not allowed to make network namespaces.
    """
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        sys.exit("Network namespaces cannot be made here: run this as root, with CAP_NET_ADMIN and CAP_SYS_ADMIN.")
    nodes = Nodes(environment)
    try:
        nodes.begin(head_cpus)
        yield nodes
    finally:
        nodes.end()


def _listens() -> bool:
    try:
        socket.create_connection((f"{NETWORK}.1", PORT), timeout=2).close()
    except OSError:
        return False
    return True


def _end(name: str) -> str:
    """The end of a namespace's link that is in this machine's own network."""
    return f"veth-{name}"


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout
