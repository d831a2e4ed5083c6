"""Requests a second at equal p99: every form that Motley makes of a model, and other ways to serve that model.

python -m tests.bench.serving MODEL --data FOLDER [--seconds 8] [--p99 250] [--rounds 2]

MODEL is a token classifier's folder as jobs.train writes it, FOLDER holds train.conll, by whose rows OpenVINO's form is
scaled, and test.conll, whose sentences are the texts. Each server runs by itself with two workers, each with one thread
for the model; on two cores they share them with HTTP and with the load generator (wrk, which must be there). Each gets
the same texts from 1, 2, 4, ... connections, which ask anew when they are answered; of these levels the one counts with
the most requests a second and a p99 within the limit. Then a client asks the longest texts beside 16 such connections.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from pipelines.compress.calibrated import quantise_calibrated
from pipelines.compress.graph import export
from pipelines.compress.int8 import quantise
from pipelines.config import DataConfig
from tests.bench.servers.texts import mixed_texts
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, table

CONNECTIONS = (1, 2, 4, 8, 12, 16, 20, 32)
BESIDE = 16
"""Connections beside which the longest texts are asked."""
LONG = 0.05
"""The longest of all texts, as a part of them."""
SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Server:
    name: str
    command: tuple[str, ...]
    """PORT stands for the port."""
    path: str
    field: str
    """Of the body, that holds a text."""
    is_list: bool = False

    def body(self, text: str) -> str:
        return json.dumps({self.field: [text] if self.is_list else text})


@dataclass(frozen=True)
class Level:
    connections: int
    per_second: float
    p50: float
    p99: float
    errors: int


def servers(model: Path, forms: Mapping[str, Path]) -> list[Server]:
    """
    Args:
        forms: folders by what is to stand for them in the table.
    """

    def other(name: str, module: str, path: str, field: str, **more: Any) -> Server:
        return Server(
            name, (sys.executable, "-m", f"tests.bench.servers.{module}", str(model), "PORT"), path, field, **more
        )

    def ours(name: str, folder: Path) -> Server:
        words = ("-m", "jobs.serve", "serve.port=PORT", "serve.auth=none", "serve.replicas=2", "--model", str(folder))
        return Server(name, (sys.executable, *words), "/v1/predict", "inputs")

    return [
        other("Ray Serve, pipeline", "plain_ray", "/", "text"),
        other("mlflow models serve", "mlflow_scoring", "/invocations", "inputs", is_list=True),
        other("LitServe, batching", "lit", "/predict", "text"),
        *(ours(f"Motley, {name}", folder) for name, folder in forms.items()),
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.conll and test.conll")
    parser.add_argument("--count", type=int, default=2000, help="different texts")
    parser.add_argument("--seconds", type=int, default=8, help="of each level")
    parser.add_argument("--p99", type=float, default=250, help="milliseconds")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[""], help="servers whose names hold one of these")
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="serving", help="the marked section of the docs to write")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if shutil.which("wrk") is None:
        raise SystemExit("The load generator wrk is not there: install it (apt install wrk, brew install wrk).")
    source, rows = given.data / "test.conll", given.data / "train.conll"
    texts = mixed_texts(source, given.count)
    with tempfile.TemporaryDirectory(prefix="motley-load-") as place:
        model = Path(shutil.copytree(given.model, Path(place, "model")))
        graph, int8, openvino = (Path(place, name) for name in ("graph", "int8", "openvino"))
        export(model, graph)
        quantise(graph, int8)
        quantise_calibrated(graph, openvino, source=str(rows), data=DataConfig())
        forms = {"torch fp32": model, "graph fp32": graph, "int8": int8, "int8 OpenVINO": openvino}
        measured: dict[str, list[dict[int, Level]]] = {}
        long: dict[str, list[float]] = {}
        chosen = [one for one in servers(model, forms) if any(word in one.name for word in given.only)]
        for number in range(given.rounds):
            for server in chosen:
                bodies = Path(place, "bodies")
                bodies.write_text("".join(f"{server.body(text)}\n" for text in texts))
                with running(server, Path(place, "server.log"), server.body(texts[0])) as url:
                    load(url, bodies, connections=4, seconds=2)
                    levels = {n: load(url, bodies, connections=n, seconds=given.seconds) for n in CONNECTIONS}
                    measured.setdefault(server.name, []).append(levels)
                    long.setdefault(server.name, []).extend(ask_long(url, server, bodies, texts, given.seconds))
                for level in levels.values():
                    print(f"round {number + 1}  {server.name:20} {level}", flush=True)
    replace_section(given.docs, given.section, section(given, source, measured, long, texts))


@contextmanager
def running(server: Server, log: Path, body: str) -> Iterator[str]:
    """The server, until the `with` ends; yields the address that is asked."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = os.environ | {
        "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip
    words = [word.replace("PORT", port) for word in server.command]
    url = f"http://127.0.0.1:{port}{server.path}"
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 180
        while not answers(url, body):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{server.name} does not answer:\n{log.read_text()[-3000:]}")
            time.sleep(0.5)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        # What it has started may be left.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def answers(url: str, body: str) -> bool:
    try:
        headers = {"Content-Type": "application/json"}
        return httpx.post(url, content=body, headers=headers, timeout=30, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def wrk(url: str, bodies: Path, *, connections: int, seconds: int) -> list[str]:
    shape = ["-t", str(min(2, connections)), "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s"]
    return ["wrk", *shape, "-s", str(SCRIPT), url, "--", str(bodies)]


def load(url: str, bodies: Path, *, connections: int, seconds: int) -> Level:
    words = wrk(url, bodies, connections=connections, seconds=seconds)
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    (result,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    requests, micros, errors, p50, p99, _ = map(float, result.split()[1:])
    # What is refused is not answered: mlflow's answer to some texts is an error.
    return Level(connections, (requests - errors) / micros * 1e6, p50 / 1000, p99 / 1000, int(errors))


def ask_long(url: str, server: Server, bodies: Path, texts: list[str], seconds: int) -> list[float]:
    """Milliseconds of each answer to one of the longest texts, asked one after the other beside others' requests."""
    longest = sorted(texts, key=len)[-max(1, int(LONG * len(texts))) :]
    beside = subprocess.Popen(wrk(url, bodies, connections=BESIDE, seconds=seconds), stdout=subprocess.DEVNULL)
    took = []
    with httpx.Client(timeout=30, trust_env=False) as client:
        while beside.poll() is None:
            body = server.body(longest[len(took) % len(longest)])
            begin = time.perf_counter()
            client.post(url, content=body, headers={"Content-Type": "application/json"}).raise_for_status()
            took.append(1000 * (time.perf_counter() - begin))
    return took


def best(levels: dict[int, Level], limit: float) -> Level | None:
    within = [level for level in levels.values() if level.p99 <= limit]
    return max(within, key=lambda level: level.per_second, default=None)


def section(
    given: argparse.Namespace,
    source: Path,
    measured: dict[str, list[dict[int, Level]]],
    long: dict[str, list[float]],
    texts: list[str],
) -> str:
    rows, at_limit = [], {}
    for name, rounds in measured.items():
        found = [one for levels in rounds if (one := best(levels, given.p99)) is not None]
        at_limit[name] = median(one.per_second for one in found) if found else 0.0
        most = max(median(levels[n].per_second for levels in rounds) for n in CONNECTIONS)
        alone = median(levels[1].p50 for levels in rounds)
        errors = sum(level.errors for levels in rounds for level in levels.values())
        connections = "/".join(str(one.connections) for one in found) or "none"
        p99_long = f"{quantiles(long[name], n=100)[98]:.0f} of {len(long[name])}" if len(long[name]) > 1 else "none"
        figures = [f"{at_limit[name]:.0f}", connections, f"{most:.0f}", f"{alone:.1f}", p99_long, str(errors)]
        rows.append([name, *figures])
    ours = [name for name in at_limit if name.startswith("Motley")]
    ratios = [
        [name, *(f"{at_limit[our] / at_limit[name]:.2f}" if at_limit[name] else "-" for our in ours)]
        for name in at_limit
        if name not in ours
    ]
    words = [len(text.split()) for text in texts]
    head = ["server", "requests/s", "connections, by round", "most requests/s", "ms alone", "long, p99 ms", "errors"]
    several = f", {given.rounds} rounds" if given.rounds > 1 else ""
    return f"""## Serving under load{several}

`{command(__file__)}`

{machine()}. A token classifier (`{shown(str(given.model))}`), {len(texts)} texts of `{shown(str(source))}`, of
{min(words)} to {max(words)} words (median {median(words):.0f}); two workers of one thread each; {given.seconds} s a
level, rounds: {given.rounds}, medians. Requests a second at the best of {", ".join(map(str, CONNECTIONS))} connections
with a p99 of at most {given.p99:g} ms, errors not counted; long texts are the longest {LONG:.0%}, asked by one more
client beside {BESIDE} connections.

{table(head, rows)}

Requests a second at that p99, ours as a multiple of theirs:

{table(["", *ours], ratios)}
"""


if __name__ == "__main__":
    main()
