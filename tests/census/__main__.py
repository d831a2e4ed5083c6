"""Cut every architecture of the transformers library, and write docs/models.md: `make census`.

python -m tests.census [WORD ...]    only pairs whose name holds one of the words, and no file is written
python -m tests.census --recompute   all pairs, with train.recompute on the stages, and no file is written
"""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from rich.progress import track

from pipelines.config import TrainConfig
from tests.census.catalog import MAPPINGS, Pair, pairs
from tests.census.trial import Outcome, tried

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
LIMIT = 120
"""Seconds for one pair."""


def main(words: Sequence[str]) -> int:
    """Try all pairs; 1 if one was trained wrongly."""
    train = TrainConfig(recompute="--recompute" in words)
    words = [word for word in words if word != "--recompute"]
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _too_long)
    start = time.perf_counter()
    chosen = [pair for pair in pairs() if not words or any(word in str(pair).split() for word in words)]
    outcomes = []
    for pair in track(chosen, description="pairs", disable=not sys.stderr.isatty()):
        outcomes.append(_within_the_limit(pair, train))
        if words or outcomes[-1].verdict == "wrong":
            halves = ", also inside a block" if outcomes[-1].divided else ""
            print(f"{outcomes[-1].verdict:17} {pair}: {outcomes[-1].note}{halves}", flush=True)
    totals = Counter(outcome.verdict for outcome in outcomes)
    print(", ".join(f"{count} {verdict}" for verdict, count in totals.most_common()))
    if not words and not train.recompute:
        PAGE.write_text(page(outcomes, seconds=time.perf_counter() - start), encoding="utf-8")
        print(f"Written to {PAGE}.")
    return int(totals["wrong"] > 0)


def page(outcomes: Sequence[Outcome], *, seconds: float) -> str:
    """The table as Markdown: one line an architecture, one column a head."""
    totals = Counter(outcome.verdict for outcome in outcomes)
    train = len(outcomes) - totals["does not train"] - totals["cannot be built"]
    cut = totals["equal"] + totals["equal in float32"]
    divided = sum(outcome.divided for outcome in outcomes)
    by_type: dict[str, dict[str, list[Outcome]]] = {}
    for outcome in outcomes:
        by_type.setdefault(outcome.pair.model_type, {}).setdefault(outcome.pair.head, []).append(outcome)
    heads = list(MAPPINGS)
    rows = [
        f"| {name} | " + " | ".join(" ".join(map(_mark, found.get(head, []))) for head in heads) + " |"
        for name, found in sorted(by_type.items())
    ]
    reasons: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.verdict not in {"equal", "equal in float32"}:
            reasons.setdefault(f"{outcome.verdict}: {_told(outcome)}", []).append(outcome.pair.class_name)
    notes = [f"- {', '.join(names)}: {reason}" for reason, names in sorted(reasons.items())]
    return f"""# Which models can be cut

`make census` writes this page ({seconds:.0f} s on one thread; transformers {transformers.__version__}, torch
{torch.__version__}). It builds a model of few layers and random weights for every architecture and head of the
transformers library, trains it in one piece, and trains it cut into two and into three stages that hold only their own
parameters, and once more cut in the middle of a block, on micro-batches of several lengths. No line of Motley names an
architecture.

{len(outcomes)} pairs of architecture and head; {train} of them train in one piece on a CPU.
**{cut} of these ({cut / train:.1%}) are cut with equal results**, {totals["refused"]} are refused with the reason,
{totals["wrong"]} are wrong. **{divided} were also cut inside a block**, between attention and feed-forward for
example, with equal results.

| mark | pairs | meaning |
| --- | ---: | --- |
| = | {totals["equal"]} | loss and every gradient equal to the plain model's, to 1e-10 in float64 |
| ~ | {totals["equal in float32"]} | the same to 1e-4: the model computes in float32 on the way |
| =½ or ~½ | {divided} | the same also with a cut inside a block |
| no | {totals["refused"]} | refused before anything is trained; `plan.stages=1` trains it |
| ! | {totals["wrong"]} | wrong |
| - | {totals["does not train"] + totals["cannot be built"]} | does not train in one piece, or cannot be built here |

A difference is relative to a tensor's largest value, or to 1e-5 (float32: 1e-3) of the model's largest gradient where
that is more, since some gradients are nothing but rounding.

| architecture | {" | ".join(heads)} |
| --- |{" :-: |" * len(heads)}
{chr(10).join(rows)}

## Why not

{chr(10).join(notes)}
"""


def _mark(outcome: Outcome) -> str:
    mark = {"equal": "=", "equal in float32": "~", "refused": "no", "wrong": "!"}.get(outcome.verdict, "-")
    return mark + "½" * outcome.divided


def _told(outcome: Outcome) -> str:
    return outcome.note.replace(outcome.pair.class_name, "the model").replace("|", "\\|")


def _within_the_limit(pair: Pair, train: TrainConfig) -> Outcome:
    signal.alarm(LIMIT)
    try:
        return tried(pair, train)
    except TimeoutError:
        return Outcome(pair, "wrong", f"took more than {LIMIT} s")
    except Exception as error:
        # A model that was not refused must run.
        return Outcome(pair, "wrong", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    finally:
        signal.alarm(0)


def _too_long(*_: object) -> None:
    raise TimeoutError


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
