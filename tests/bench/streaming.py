"""A data set ten times larger than what its data shards may take of memory: as a stream, and held in memory.

python -m tests.bench.streaming [--limit 16MB] [--shards 1] [--steps 20]

Texts are made up until what is encoded of them is ten times the limits of all data shards together, and a tiny masked
language model is trained on them, with `data.memory` and without: by the command that people use, so that the figures
are those of its summary. How fast the data shards read, encode and hand out is measured on data shards alone.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from pipelines.config import Config, DataConfig
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, table
from tests.tiny_lm import LETTERS, write_lm

TIMES = 10
LENGTH = 480
"""Characters of a text, and sub-words of the tiny model."""
WORDS = 400
"""Different ones of which texts are made."""
MB = 10**6
HANDED_OUT = 200
"""Micro-batches."""


@dataclass(frozen=True)
class Measured:
    """Of one way of holding the data."""

    prepared: float
    """Examples a second, read and encoded."""
    handed_out: float
    """Examples a second."""
    summary: dict[str, Any]
    weights: str


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", default="16MB", help="data.memory of each data shard")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="streaming", help="the marked section of the docs to write")
    return parser.parse_args()


def write_texts(folder: Path, num_rows: int) -> None:
    chance = random.Random(0)
    letters = [letter for letter in LETTERS if letter.isalpha()]
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(WORDS)]
    folder.mkdir()
    for split, rows in (("train", num_rows), ("dev", 50)):
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for _ in range(rows):
                text = " ".join(chance.choices(words, k=LENGTH // 5))[: chance.randint(LENGTH // 2, LENGTH)]
                file.write(json.dumps({"text": text}) + "\n")


def settings(folder: Path, name: str, given: argparse.Namespace, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": {"name": "bench", "output": str(folder / name)},
        "model": {"source": str(folder / "model")},
        "data": {"path": str(folder / "data"), "shards": given.shards, **data},
        "train": {"task": "masked-lm", "max_steps": given.steps, "batch_size": 8, "micro_batches": 2},
        "plan": {"stages": 1, "cpus_per_stage": 1, "timeout": 600},
        "track": {"uri": f"sqlite:///{folder}/mlflow.db", "system_metrics": False},
    }


def speeds(config: Config) -> tuple[float, float]:
    """Examples a second that data shards read and encode, and that they hand out."""
    import ray

    from cluster.data_crew import DataCrew
    from cluster.session import connected
    from pipelines.data.batches import epoch_steps
    from pipelines.tasks import make_task

    with connected():
        crew = DataCrew(config.data, make_task("masked-lm"), timeout=600)
        try:
            crew.use()  # the processes are there
            begin = time.perf_counter()
            crew.load()
            lengths = crew.encode(config.model.source, [], LENGTH + 2)["train"].lengths
            prepared = len(lengths) / (time.perf_counter() - begin)
            steps = epoch_steps(
                lengths, batch_size=8, accumulate=1, micro_batches=2, token_budget=4096, seed=0, epoch=0
            )  # fmt: skip
            wanted = [piece for step in steps[: HANDED_OUT // 2] for piece in step.micro_batches]
            begin = time.perf_counter()
            for piece in wanted:
                ray.get(crew.hand_out("train", [piece]))
            handed_out = sum(len(piece.rows) for piece in wanted) / (time.perf_counter() - begin)
        finally:
            crew.close()
    return prepared, handed_out


def measured(folder: Path, name: str, given: argparse.Namespace, data: dict[str, Any]) -> Measured:
    some = Config.model_validate(settings(folder, name, given, {**data, "path": str(folder / "some")}))
    prepared, handed_out = speeds(some)
    wanted = settings(folder, name, given, data)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(wanted), encoding="utf-8")
    words = [sys.executable, "-m", "jobs.train", str(path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-8000:]}")
    summary = json.loads((folder / name / "summary.json").read_text(encoding="utf-8"))
    weights = (folder / name / "model" / "model.safetensors").read_bytes()
    return Measured(prepared, handed_out, summary, sha256(weights).hexdigest())


def main() -> None:
    given = arguments()
    limit = DataConfig.model_validate({"memory": given.limit}).memory
    assert limit is not None
    # Of each sub-word three whole numbers of 32 bits; texts are three quarters of the longest at the mean.
    num_rows = int(1.05 * TIMES * limit * given.shards / (3 * 4 * LENGTH * 0.75))
    with tempfile.TemporaryDirectory(prefix="motley-bench-") as place:
        folder = Path(place)
        write_lm(folder / "model", "bert", max_position_embeddings=512)
        write_texts(folder / "data", num_rows)
        # How fast it goes does not depend on how much there is.
        write_texts(folder / "some", num_rows // TIMES)
        file_size = sum(path.stat().st_size for path in (folder / "data").iterdir())
        ways = {
            "stream": measured(folder, "stream", given, {"memory": given.limit, "scratch": place}),
            "in memory": measured(folder, "memory", given, {}),
        }
    rows = []
    for name, way in ways.items():
        peaks = [use["peak"] / MB for use in way.summary["data_memory"]]
        rows.append(
            [
                name,
                f"{limit / MB:,.0f}" if name == "stream" else "none",
                ", ".join(f"{peak:,.1f}" for peak in peaks),
                f"{way.prepared:,.0f}",
                f"{way.handed_out:,.0f}",
                f"{way.summary['throughput']['useful_tokens_per_second']:,.0f}",
                f"{way.summary['loss']['last']:.6f}",
                way.weights[:12],
            ]
        )
    stream, memory = ways.values()
    on_disk = sum(use["on_disk"] for use in stream.summary["data_memory"])
    facts = stream.summary["data"]["train"]
    same = "yes" if stream.weights == memory.weights else "no"
    head = ["", "limit, MB", "peak of each data shard, MB", "read and encoded, examples/s", "handed out, examples/s"]
    head += ["trained, tokens/s", "last loss", "weights"]
    body = f"""## Data larger than memory

`{command(__file__)}`

{machine()}.
{facts["rows"]:,} texts of {facts["sub_words"]:,} sub-words in {file_size / MB:,.1f} MB of JSON lines; data shards:
{given.shards}. On disk, rows and examples are {on_disk / MB:,.1f} MB, {on_disk / (limit * given.shards):.1f} times what
the data shards may take. Masked language model of width 32, {given.steps} steps of 8 texts. *Peak*: the most anonymous
memory beyond that of the libraries and the tokenizer, from the first row to the last step ([data.md](data.md)).
*Weights*: the beginning of the SHA-256 of the trained model. Equal weights: {same}.

{table(head, rows)}
"""
    print(body)
    replace_section(given.docs, given.section, body)


if __name__ == "__main__":
    main()
