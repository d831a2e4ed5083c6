"""Translation with the encoder on one actor and the decoder on another, beside a plain single-process loop.

    python -m tests.bench.translation --data FOLDER/pairs.tsv

A small BART with random weights learns from pairs of sentences (source and target are a file's first two columns):
its losses are held against the plain loop's, step by step, and what it writes for the test split against `generate()`
of the model that the run saves. Dropout is 0, so that they differ by rounding alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from pipelines.data.sample_texts import divide, to_files
from pipelines.data.write_files import write_all
from pipelines.model.units import find_units
from pipelines.report.texts import text_report
from pipelines.report.tokens import TokenReport
from pipelines.tasks import make_task
from tests.bench.beside import beside
from tests.bench.tables import BENCHMARKS, command, machine, replace_section, shown, table
from tests.tasks.models import write_translator

MOST = 32
"""New sub-words of a text that is written."""
TASK = "seq2seq-lm"


def main() -> int:
    """1 if a loss is off by more than rounding grows to, or the texts are not those of `generate()`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a TSV file of sources and targets, without a header")
    parser.add_argument("--pairs", type=int, default=4000, help="how many of them")
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="motley-translation-") as name:
        scratch = Path(name)
        lines = given.data.read_text(encoding="utf-8").splitlines()
        # Evenly from all of the file, whose pairs may be sorted by length.
        pairs = [line.split("\t") for line in lines[:: max(1, len(lines) // given.pairs)]]
        write_all(scratch / "data", to_files(divide([{"text": pair[0], "target": pair[1]} for pair in pairs])))
        model = write_translator(scratch / "model", scratch / "data", dropout=0.0)
        config = {
            "run": {"name": "translation", "output": str(scratch / "run")},
            "model": {"source": str(model)},
            "data": {"path": str(scratch / "data"), "columns": {"source": "text"}, "max_length": 128},
            "train": {
                "task": TASK, "epochs": given.epochs, "batch_size": 32, "learning_rate": 1e-3, "token_budget": 8192,
                "max_new_tokens": MOST,
            },
            "plan": {"stages": 2, "cut": [first_of_decoder(model)]},
            "track": {"uri": f"sqlite:///{scratch}/mlflow.db", "system_metrics": False},
            "checkpoint": {"resume": "never"},
        }  # fmt: skip
        (scratch / "translation.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        loop, run = beside(scratch / "translation.yaml", scratch / "run")
        test = run["summary"]["test"][0]
        rows = [json.loads(line) for line in (scratch / "data" / "test.jsonl").read_text("utf-8").splitlines()]
        written = texts_of(scratch / "run" / "model", [row["text"] for row in rows])
    whole = text_report(TokenReport(0, 0, 0, 0), [row["target"] for row in rows], written)
    generated = {"bleu": whole.bleu, "chrf": whole.chrf, "rouge_l": whole.rouge_l}
    apart = [abs(a - b) / abs(a) for a, b in zip(loop["losses"], run["losses"], strict=True)]
    body = _page(given, len(rows), loop, run, apart, {name: (test[name], generated[name]) for name in generated})
    replace_section(BENCHMARKS, "translation", body)
    print(body)
    return 0 if max(apart) < 1e-2 and all(test[name] == value for name, value in generated.items()) else 1


def first_of_decoder(model: Path) -> int:
    """The number of the decoder's first unit."""
    task = make_task(TASK)
    units = find_units(task.auto_class.from_pretrained(model), task.probe(task.load_processor(str(model))))
    return next(n for n, unit in enumerate(units.all) if unit.name.startswith("model.decoder"))


def texts_of(model: Path, sources: list[str]) -> list[str]:
    """What the saved model writes by itself."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    saved, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)
    found = []
    for source in sources:
        ids = tokenizer(source, return_tensors="pt")
        out = saved.generate(
            input_ids=ids["input_ids"], attention_mask=ids["attention_mask"], do_sample=False, num_beams=1,
            max_new_tokens=MOST,
        )  # fmt: skip
        found.append(str(tokenizer.decode(out[0], skip_special_tokens=True)).strip())
    return found


def _page(
    given: argparse.Namespace,
    num_texts: int,
    loop: dict[str, Any],
    run: dict[str, Any],
    apart: list[float],
    scores: dict[str, tuple[float, float]],
) -> str:
    quarters = [0, len(apart) // 4, len(apart) // 2, 3 * len(apart) // 4, len(apart) - 1]
    losses = [
        [name, *(f"{values[at]:.5f}" for at in quarters)]
        for name, values in (("plain loop", loop["losses"]), ("Motley", run["losses"]))
    ]
    difference = ["largest relative difference so far", *(f"{max(apart[: at + 1]):.1e}" for at in quarters)]
    texts = [[name, f"{own:.4f}", f"{generated:.4f}"] for name, (own, generated) in scores.items()]
    return (
        f"## Translation, encoder and decoder apart\n\n`{command(__file__)}`\n\n{machine()}.\nA BART of 2 + 2 blocks "
        f"of 128 with random weights, {shown(str(given.data))}, {given.epochs} epochs of batches of 32, AdamW 0.001, "
        f"float32, no dropout. The encoder is one actor's, the decoder another's.\n\n"
        f"{table(['loss of step', *(str(at) for at in quarters)], [*losses, difference])}\n\nWhat {num_texts} texts of "
        f"test score that the cut model writes, and that `generate()` of the saved model writes:\n\n"
        f"{table(['score', 'through the cut', 'generate()'], texts)}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
