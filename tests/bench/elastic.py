"""An endpoint under load: a version comes, goes and comes again, a worker is killed, and workers follow the load.

    python -m tests.bench.elastic MODEL --texts FILE.conll

MODEL is a token classifier's folder as jobs.train writes it. The first version is that, the second the same in int8.
Ends with 1 if a request failed, or the workers did not go from none to two and back to none.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from mlflow import MlflowClient

from pipelines.compress.graph import export
from pipelines.compress.int8 import quantise
from pipelines.config import Config, TrackConfig
from pipelines.inference.registry import register
from pipelines.serve_settings import ServeConfig, TrialConfig
from pipelines.versions.registry_view import RegistryView
from pipelines.workers_settings import ScaleConfig
from tests.bench.servers.texts import mixed_texts
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, table
from tests.cluster.loads import Answer, Load, served, until, workers

PICTURE = ROOT / "docs" / "pictures" / "elastic.png"
CLIENTS = 12
HEAD = ["what happened", "at s", "until it held, s", "answered in that time", "failed", "p50, ms", "longest, ms"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=Path, required=True, help="a .conll file, whose sentences are the texts")
    parser.add_argument("--seconds", type=float, default=8, help="of load between two events")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    texts = mixed_texts(given.texts, 2000)
    with tempfile.TemporaryDirectory(prefix="motley-elastic-") as place:
        rows, answers = versions(given, Path(place), texts)
        steps, scaled = scaling(given, texts)
    failed = [one for one in (*answers, *scaled) if one.status != 200]
    counts = [count for _, count in steps]
    draw(steps, scaled)
    body = f"""## Versions, a killed worker, and workers that follow the load

`{command(__file__)}`

{machine()}. A token classifier (`{shown(str(given.model))}`), {CLIENTS} clients that ask texts of
`{shown(str(given.texts))}` one after the other; two workers of one CPU. {len(answers)} requests, of which
{sum(one.status != 200 for one in answers)} failed.

{table(HEAD, rows)}

Then `serve.scale={{least: 0, most: 2, up_after: 2, down_after: 5}}`, with no load, with {CLIENTS} clients, and with
none again: {len(scaled)} requests, of which {sum(one.status != 200 for one in scaled)} failed. The first one waited
{scaled[0].took:.1f} s for a worker to start.

![Requests a second and workers over time](pictures/elastic.png)
"""
    replace_section(BENCHMARKS, "elastic", body)
    print(body)
    return 1 if failed or counts[0] != 0 or max(counts) != 2 or counts[-1] != 0 else 0


def versions(given: argparse.Namespace, place: Path, texts: list[str]) -> tuple[list[list[str]], list[Answer]]:
    """A line for each event, and all answers."""
    store = f"sqlite:///{place}/mlflow.db"
    client = MlflowClient(store)
    run = client.create_run(client.create_experiment("elastic", str(place / "artifacts"))).info.run_id
    export(given.model, place / "graph")
    quantise(place / "graph", place / "int8")

    def add(folder: Path) -> None:
        register(folder, name="ner", alias="champion", run_id=run, tags={}, tracking_uri=store)

    add(given.model)
    settings = ServeConfig(
        port=0, auth="none", replicas=2, follow_seconds=1, trial=TrialConfig(watch_seconds=given.seconds / 2)
    )
    config = Config(serve=settings, track=TrackConfig(uri=store))
    view = RegistryView.of("ner", config)
    rows = []
    with served("models:/ner@champion", config) as url, Load(url, clients=CLIENTS, inputs=texts) as load:

        def answered_by(version: str) -> bool:
            return bool(load.answers) and load.answers[-1].version == version

        def held(what: str, act: Any, true: Any) -> None:
            begin, before = load.now, len(load.answers)
            act()
            until(true, 300)
            end = load.now
            time.sleep(given.seconds)
            within = load.answers[before:]
            took = [1000 * one.took for one in within]
            bad = sum(one.status != 200 for one in within)
            longest = f"{max(took):.0f}"
            figures = [f"{begin:.0f}", f"{end - begin:.1f}", str(len(within)), str(bad), f"{median(took):.0f}", longest]
            rows.append([what, *figures])
            print(rows[-1], flush=True)

        held("nothing", lambda: None, lambda: answered_by("1"))
        held("the alias moves to version 2 (int8)", lambda: add(place / "int8"), lambda: answered_by("2"))
        gone = workers()[0]
        held(
            "a worker is killed",
            lambda: os.kill(gone, signal.SIGKILL),
            lambda: gone not in workers() and len(workers()) == 2,
        )
        held("version 2 is rolled back", lambda: view.roll_back("a benchmark", version="2"), lambda: answered_by("1"))
    return rows, load.answers


def scaling(given: argparse.Namespace, texts: list[str]) -> tuple[list[tuple[float, int]], list[Answer]]:
    """How many workers there were at which second, and all answers."""
    scale = ScaleConfig(least=0, most=2, up_after=2, down_after=5)
    config = Config(serve=ServeConfig(port=0, auth="none", scale=scale))
    steps: list[tuple[float, int]] = []
    over = threading.Event()
    with served(str(given.model), config) as url:
        until(lambda: not workers(), 120)
        load = Load(url, clients=CLIENTS, inputs=texts)

        def watch() -> None:
            while not over.wait(0.25):
                steps.append((load.now, len(workers())))

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            until(lambda: len(steps) > 8)
            with load:
                until(lambda: len(workers()) == 2, 120)
                time.sleep(3 * given.seconds)
            until(lambda: not workers(), 120)
            last = len(steps)
            until(lambda: len(steps) > last + 8)
        finally:
            over.set()
            watching.join()
    return steps, load.answers


def draw(steps: list[tuple[float, int]], answers: list[Answer]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    seconds = range(int(steps[-1][0]) + 1)
    rate = [sum(second <= one.at < second + 1 for one in answers) for second in seconds]
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(8, 4.5), height_ratios=(2, 1))
    above.step(list(seconds), rate, where="post")
    above.set_ylabel("answers a second")
    below.step([at for at, _ in steps], [count for _, count in steps], where="post", color="tab:orange")
    below.set_ylabel("workers")
    below.set_yticks([0, 1, 2])
    below.set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    raise SystemExit(main())
