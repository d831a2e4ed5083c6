"""A data set ten times larger than what its data shards may take of memory: as a stream, and held in memory.

python -m tests.bench.streaming [--limit 16MB] [--shards 1] [--steps 20]

Texts with a label are made up until what is encoded of them is ten times the limits of all data shards together, and a
tiny model is trained on them, with `data.memory` and without. How fast the data shards read, encode and hand out is
measured on data shards alone, with a tenth of the texts.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import ray

from cluster.data_crew import DataCrew
from cluster.driver import Driver, StopRequest
from cluster.session import connected
from pipelines.config import Config, DataConfig
from pipelines.data.anonymous import MB, MemoryUse
from pipelines.data.batches import epoch_steps
from pipelines.report.observer import Beginning, StepNumbers
from pipelines.tasks import make_task
from tests.bench.tables import BENCHMARKS, command, machine, replace_section, table
from tests.tiny_lm import LETTERS, write_lm

TIMES = 10
TASK, LABELS = "sequence-classification", ["a", "b", "c", "d"]
LENGTH = 480
"""Characters of the longest text, and sub-words of the tiny model."""
WORDS = 400
"""Different ones of which texts are made."""
BYTES = 8
"""Of each sub-word on disk: two whole numbers of 32 bits."""
HANDED_OUT = 200
"""Micro-batches."""
TRAIN = {"task": TASK, "batch_size": 8, "micro_batches": 2}


@dataclass
class Told:
    """What a run tells, as far as it is of use here."""

    losses: list[float] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def begin(self, beginning: Beginning) -> None:
        self.data = dict(beginning.data)

    def step(self, numbers: StepNumbers) -> None:
        self.losses.append(numbers.loss)

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@dataclass(frozen=True)
class Measured:
    """Of one way of holding the data."""

    prepared: float
    """Examples a second, read and encoded."""
    handed_out: float
    """Examples a second."""
    uses: list[MemoryUse]
    told: Told
    weights: str
    seconds: float
    """Of the training, from the first row to the trained model."""


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
                file.write(json.dumps({"text": text, "label": chance.choice(LABELS)}) + "\n")


def speeds(data: DataConfig, model: str) -> tuple[float, float]:
    """Examples a second that data shards read and encode, and that they hand out."""
    crew = DataCrew(data, make_task(TASK), timeout=600)
    try:
        crew.use()  # the processes are there
        begin = time.perf_counter()
        crew.load()
        lengths = crew.encode(model, LABELS, LENGTH + 2)["train"].lengths
        prepared = len(lengths) / (time.perf_counter() - begin)
        steps = epoch_steps(
            lengths, batch_size=8, accumulate=1, micro_batches=2, token_budget=4096, seed=0, epoch=0
        )  # fmt: skip
        wanted = [piece for step in steps[: HANDED_OUT // 2] for piece in step.micro_batches]
        begin = time.perf_counter()
        for piece in wanted:
            ray.get(crew.hand_out("train", [piece]))
        return prepared, sum(len(piece.rows) for piece in wanted) / (time.perf_counter() - begin)
    finally:
        crew.close()


def measured(folder: Path, name: str, given: argparse.Namespace, data: dict[str, Any]) -> Measured:
    model, told = str(folder / "model"), Told()
    some = DataConfig.model_validate({"path": str(folder / "some"), "shards": given.shards, **data})
    prepared, handed_out = speeds(some, model)
    config = Config.model_validate(
        {
            "model": {"source": model},
            "data": {"path": str(folder / "data"), "shards": given.shards, **data},
            "train": TRAIN | {"max_steps": given.steps},
            "plan": {"stages": 1, "cpus_per_stage": 1, "timeout": 600},
            "recovery": {"spares": 0},
            "checkpoint": {"resume": "never"},
        }
    )
    begin = time.perf_counter()
    driver = Driver(config, folder / name, told, may_grow=False, stop=StopRequest())
    try:
        driver.run()
        driver.save_model(folder / name / "model")
        uses = driver.data_memory()
    finally:
        driver.close()
    weights = (folder / name / "model" / "model.safetensors").read_bytes()
    return Measured(
        prepared, handed_out, uses, told, sha256(weights).hexdigest(), time.perf_counter() - begin
    )  # fmt: skip


def main() -> None:
    given = arguments()
    limit = DataConfig.model_validate({"memory": given.limit}).memory
    assert limit is not None
    # Texts are three quarters of the longest at the mean.
    num_rows = int(1.02 * TIMES * limit * given.shards / (BYTES * LENGTH * 0.75))
    with tempfile.TemporaryDirectory(prefix="motley-bench-") as place, connected():
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
        peaks = ", ".join("unknown" if use.peak is None else f"{use.peak / MB:,.1f}" for use in way.uses)
        speed = [f"{way.prepared:,.0f}", f"{way.handed_out:,.0f}", f"{way.seconds:,.0f}"]
        end = [f"{way.told.losses[-1]:.6f}", way.weights[:12]]
        rows.append([name, f"{limit / MB:,.0f}" if name == "stream" else "none", peaks, *speed, *end])
        print(rows[-1], flush=True)
    stream, memory = ways.values()
    on_disk = sum(use.on_disk for use in stream.uses)
    facts = stream.told.data["train"]
    same = stream.weights == memory.weights and stream.told.losses == memory.told.losses
    head = ["", "limit, MB", "peak of each data shard, MB", "read and encoded, examples/s", "handed out, examples/s"]
    head += ["training, s", "last loss", "weights"]
    body = f"""## Data larger than memory

`{command(__file__)}`

{machine()}.
{facts["rows"]:,} texts of {facts["sub_words"]:,} sub-words in {file_size / MB:,.1f} MB of JSON lines; data shards:
{given.shards}. On disk, rows and examples are {on_disk / MB:,.1f} MB, {on_disk / (limit * given.shards):.1f} times what
the data shards may take. Classification by a model of width 32, {given.steps} steps of 8 texts, and an evaluation.
*Peak*: the most anonymous memory beyond that of the libraries and the tokenizer, from the first row to the last step
([data.md](data.md)). *Training*: from the first row to the trained model. *Weights*: the beginning of its SHA-256.
Losses of all steps and weights are equal: {"yes" if same else "no"}.

{table(head, rows)}
"""
    print(body)
    replace_section(given.docs, given.section, body)


if __name__ == "__main__":
    main()
