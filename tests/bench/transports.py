"""How long a tensor takes from one process to another, by way and size: on one node, and over a slow link.

python -m tests.bench.transports [--rate 1gbit] [--delay 1ms] [--no-link]

The link is between two network namespaces, shaped by tc, which needs root; without it that part is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, table
from tests.bench.ways_between import BY_CALLS, RESIDENT, SIZES

NAMES = {
    "shared-memory": "shared memory (Motley on one node)",
    "zmq-ipc": "ZeroMQ, Unix sockets",
    "zmq-tcp": "ZeroMQ, TCP, encrypted (Motley between nodes)",
    "gloo": "gloo isend/irecv in a resident loop",
    "object-store": "Ray object store",
    "zero-copy": "Ray object store, zero-copy tensors",
    "direct-transport": "Ray Direct Transport (gloo)",
}
OVER_LINK = ("zmq-tcp", "gloo", "object-store", "zero-copy", "direct-transport")
HOSTS = ("10.77.0.1", "10.77.0.2")
SPACES = ("motley-a", "motley-b")
ENDS = ("motley-va", "motley-vb")
RAY_PORT = 6399


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="1gbit", help="of the link, as tc writes it")
    parser.add_argument("--delay", default="1ms", help="of the link, each way; needs the kernel's netem")
    parser.add_argument("--no-link", action="store_true")
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    return parser.parse_args()


@contextmanager
def link(rate: str, delay: str) -> Iterator[str]:
    """Two network namespaces with a shaped link between them; yields how it is shaped.

    Raises:
        subprocess.CalledProcessError: there is no right or no tool to make it.
    """
    made = []
    try:
        for space in SPACES:
            _run("ip", "netns", "add", space)
            made.append(space)
        _run("ip", "link", "add", ENDS[0], "netns", SPACES[0], "type", "veth", "peer", ENDS[1], "netns", SPACES[1])
        shaped = ""
        for space, end, host in zip(SPACES, ENDS, HOSTS, strict=True):
            within = ("ip", "netns", "exec", space)
            _run(*within, "ip", "addr", "add", f"{host}/24", "dev", end)
            _run(*within, "ip", "link", "set", end, "up")
            _run(*within, "ip", "link", "set", "lo", "up")
            try:
                _run(*within, "tc", "qdisc", "add", "dev", end, "root", "netem", "rate", rate, "delay", delay)
                shaped = f"{rate}, {delay} each way"
            except subprocess.CalledProcessError:
                limit = ("burst", "256kb", "latency", "100ms")
                _run(*within, "tc", "qdisc", "add", "dev", end, "root", "tbf", "rate", rate, *limit)
                shaped = f"{rate}, without a delay, which this kernel cannot make (no netem)"
        yield shaped
    finally:
        # The link goes with its ends.
        for space in made:
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


@contextmanager
def ray_over_link() -> Iterator[str]:
    """A Ray of two nodes with one CPU each, one in each namespace; yields its address."""
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    address = f"{HOSTS[0]}:{RAY_PORT}"
    nodes = []
    try:
        for space, end, host, more in zip(
            SPACES,
            ENDS,
            HOSTS,
            (["--head", f"--port={RAY_PORT}", "--include-dashboard=false"], [f"--address={address}"]),
            strict=True,
        ):
            nodes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", space, *ray, f"--node-ip-address={host}", *more],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # Gloo would take the loopback device, which does not lead out of its namespace.
                    env=_environment(end),
                )
            )
            time.sleep(8)
        yield address
    finally:
        for node in reversed(nodes):
            node.terminate()
        for node in nodes:
            node.wait(60)


def between_actors(way: str) -> dict[int, float]:
    return _result([sys.executable, "-m", "tests.bench.ways_between", way])


def over_link(way: str) -> dict[int, float]:
    within = [["ip", "netns", "exec", space, sys.executable, "-m", "tests.bench.ways_between", way] for space in SPACES]
    if way in BY_CALLS:
        with ray_over_link() as address:
            return _result([*within[0], address])
    with tempfile.TemporaryDirectory(prefix="motley-bench-") as folder:
        other = subprocess.Popen(
            [*within[1], "1", folder, HOSTS[1]], cwd=ROOT, env=_environment(ENDS[1]), stdout=subprocess.DEVNULL
        )
        try:
            return _result([*within[0], "0", folder, HOSTS[0]], device=ENDS[0])
        finally:
            other.terminate()
            other.wait(60)


def _environment(device: str | None = None) -> dict[str, str]:
    return (
        os.environ
        | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
        | ({"GLOO_SOCKET_IFNAME": device} if device else {})
    )


def _result(words: Sequence[str], *, device: str | None = None) -> dict[int, float]:
    done = subprocess.run(
        words, cwd=ROOT, env=_environment(device), capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return {int(size): seconds for size, seconds in json.loads(done.stdout.splitlines()[-1]).items()}


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def size(num_bytes: int) -> str:
    return f"{num_bytes // 1024:,} KiB" if num_bytes < 2**20 else f"{num_bytes // 2**20} MiB"


def times(found: Mapping[str, Mapping[int, float]]) -> str:
    """Microseconds one way by size, and what that makes in bytes per second for the largest message."""
    rows = [
        [NAMES[way], *(f"{1e6 * by_size[n]:,.0f}" for n in SIZES), f"{SIZES[-1] / by_size[SIZES[-1]] / 1e9:.2f}"]
        for way, by_size in found.items()
    ]
    return table(["one way, us", *map(size, SIZES), f"GB/s at {size(SIZES[-1])}"], rows)


def main() -> None:
    given = arguments()
    # The link must not stay when this is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    near: dict[str, dict[int, float]] = {}
    for way in (*RESIDENT, *BY_CALLS):
        near[way] = between_actors(way)
        print(f"{way}: {near[way]}", flush=True)
    far, shaped = {}, ""
    if not given.no_link:
        try:
            with link(given.rate, given.delay) as shaped:
                for way in OVER_LINK:
                    far[way] = over_link(way)
                    print(f"{way}, link: {far[way]}", flush=True)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            print(f"no link: {error}", flush=True)
    linked = f"Between two network namespaces ({shaped}):\n\n{times(far)}" if far else "No link could be made here."
    body = f"""## Ways of a tensor from one process to another

`{command(__file__)}`

{machine()}.
A float32 tensor goes to and fro between two processes of one thread each; half of that is its time one way. Resident
loops wait for each other's messages; of Ray's ways each message is an actor call with a reference, all submitted
beforehand so that none waits for the driver. Medians of 3 rounds after one that is not counted. NCCL and other ways
between GPUs are not measured here: no GPU.

Between two actors on one node:

{times(near)}

{linked}
"""
    print(body)
    replace_section(given.docs, "transports", body)


if __name__ == "__main__":
    main()
