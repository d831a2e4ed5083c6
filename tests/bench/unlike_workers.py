"""Workers of unlike speed in one endpoint, and a model that is cut over two devices: what each way to serve answers.

python -m tests.bench.unlike_workers MODEL --texts FILE.conll [--ratios 2 3 5] [--seconds 5] [--rounds 2]

MODEL is a token classifier's folder as jobs.train writes it. Two Ray nodes of one CPU each; on the slow one every pass
takes r times as long, because its worker sleeps after it. The load generator is wrk, which must be there: of some
numbers of connections the one counts with the most requests a second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from statistics import median

from pipelines.config import Config
from pipelines.plan_settings import PlanConfig
from pipelines.serve_settings import ServeConfig
from pipelines.workers_settings import WorkersConfig
from tests.bench.servers.texts import mixed_texts
from tests.bench.serving import Level, load
from tests.bench.tables import BENCHMARKS, command, machine, replace_section, shown, spread, table
from tests.bench.uneven import FAST, SLOW, pair
from tests.cluster.loads import served

CONNECTIONS = (1, 4, 8, 16, 32)
CPUS = 0.5
"""Of a worker: two find room on a node, whose threads are one each."""
Found = dict[str, list[list[Level]]]
"""By what served: of every round the levels."""


def on(device: str) -> dict[str, str]:
    return {"motley.device": device}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=Path, required=True, help="a .conll file, whose sentences are the texts")
    parser.add_argument("--ratios", type=float, nargs="+", default=[2, 3, 5])
    parser.add_argument("--seconds", type=int, default=5, help="of each level")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("The load generator wrk is not there: install it (apt install wrk, brew install wrk).")
    os.environ.update(OMP_NUM_THREADS="1", RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    common = {"port": 0, "auth": "none", "cpus_per_replica": CPUS}
    slow = WorkersConfig(cpus_per_replica=CPUS, labels=on(SLOW))
    unlike = {
        "fast": ServeConfig(**common, labels=on(FAST)),
        "slow": ServeConfig(**common, labels=on(SLOW)),
        "both": ServeConfig(**common, labels=on(FAST), beside=(slow,)),
    }
    alike = {
        "one worker": ServeConfig(**common, labels=on(FAST)),
        "two workers": ServeConfig(**common, labels=on(FAST), beside=(slow,)),
        "cut over both devices": ServeConfig(**common, plan=PlanConfig(stages=2, cpus_per_stage=CPUS)),
    }
    with tempfile.TemporaryDirectory(prefix="motley-unlike-") as place:
        bodies = Path(place, "bodies")
        texts = mixed_texts(given.texts, 2000)
        bodies.write_text("".join(f"{json.dumps({'inputs': text})}\n" for text in texts))
        found = {ratio: measured(given, ratio, unlike, bodies) for ratio in given.ratios}
        cut = measured(given, 1, alike, bodies)
    body = section(given, found, cut)
    replace_section(given.docs, "unlike-workers", body)
    print(body)


def measured(given: argparse.Namespace, ratio: float, ways: dict[str, ServeConfig], bodies: Path) -> Found:
    found: Found = {name: [] for name in ways}
    with pair(ratio):
        for number in range(given.rounds):
            for name, settings in ways.items():
                with served(str(given.model.absolute()), Config(serve=settings)) as url:
                    asked = f"{url}/v1/predict"
                    load(asked, bodies, connections=4, seconds=2)
                    levels = [load(asked, bodies, connections=n, seconds=given.seconds) for n in CONNECTIONS]
                found[name].append(levels)
                print(f"r = {ratio:g}  round {number + 1}  {name:22} {best(levels)}", flush=True)
    return found


def best(levels: list[Level]) -> Level:
    return max(levels, key=lambda level: level.per_second)


def section(given: argparse.Namespace, found: dict[float, Found], cut: Found) -> str:
    rows = []
    for ratio, by_name in found.items():
        most = {name: [best(levels) for levels in rounds] for name, rounds in by_name.items()}
        gains = [both.per_second / fast.per_second for both, fast in zip(most["both"], most["fast"], strict=True)]
        rows.append([
            f"{ratio:g}",
            *(spread([one.per_second for one in most[name]], 1) for name in ("fast", "slow", "both")),
            spread(gains, 3),
            f"{1 + 1 / ratio:.3f}",
            f"{median(gains) / (1 + 1 / ratio):.1%}",
            f"{median(one.p99 for one in most['fast']):.0f}",
            f"{median(one.p99 for one in most['both']):.0f}",
        ])  # fmt: skip
    head = ["r", "fast alone", "slow alone", "both", "gain", "1 + 1 / r", "reached", "p99 fast, ms", "p99 both, ms"]
    cuts = []
    for name, rounds in cut.items():
        most_of = [best(levels) for levels in rounds]
        alone = [levels[0] for levels in rounds]
        cuts.append([
            name, spread([one.per_second for one in most_of], 1),
            f"{median(one.p99 for one in most_of):.0f}", f"{median(one.p50 for one in alone):.1f}",
        ])  # fmt: skip
    errors = sum(
        level.errors for by in [*found.values(), cut] for rounds in by.values() for one in rounds for level in one
    )
    return f"""## Workers of unlike speed, and a model that is cut

`{command(__file__)}`

{machine()}. A token classifier (`{shown(str(given.model))}`), texts of `{shown(str(given.texts))}`; two
Ray nodes of one CPU, a worker of one thread on each; {given.rounds} rounds of {given.seconds} s for each of
{CONNECTIONS} connections, of which the one with the most requests a second counts. Answers that were errors: {errors}.
The slow worker sleeps after every pass, so that it takes r times as long. Front and load generator share the two cores
with them.

Requests a second, medians (extremes):

{table(head, rows)}

The same model in one piece, twice, and cut into two stages, one on each node (both as fast as the other):

{table(["", "requests/s", "p99 there, ms", "p50 alone, ms"], cuts)}
"""


if __name__ == "__main__":
    main()
