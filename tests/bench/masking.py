"""How much personal data is masked, and how much else: recall and precision by kind on labelled texts, and the time.

    python -m tests.bench.masking [--each 400] [--seed 0]

Names, which a model finds, are measured by tests/bench/names.py.

`pip install --no-deps --require-hashes -r requirements-bench.txt` first: the values come from Faker.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pipelines.inference.masking.finders import FINDERS, Rules, find
from pipelines.inference.masking.finding import Finding
from pipelines.inference.masking.records import RULES, redact
from tests.bench.personal import NOBODYS, PERSONAL, Example, examples
from tests.bench.tables import ROOT, command, machine, replace_section, table

MASKING = ROOT / "docs" / "masking.md"
LINES = {
    "no digits: `Model loaded, ready to answer`": "Model loaded, ready to answer",
    "short numbers: `step 120 of 1000: loss 0.5312, lr 2e-05`": "step 120 of 1000: loss 0.5312, lr 2e-05",
    "a long number: `order 20241105093 is on its way`": "order 20241105093 is on its way",
    "a telephone number: `call +86 138 0013 8000`": "call +86 138 0013 8000",
    "2,000 letters without a digit": "Ada moved to Berlin. " * 95,
    "2,000 letters, 30 telephone numbers": "Ada moved to Berlin, and has the number +49 30 2345678 or another. " * 30,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """An example, and what was found in it by each set of rules."""

    example: Example
    answers: list[Finding]
    logs: list[Finding]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=400, help="examples of every row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--docs", type=Path, default=MASKING)
    return parser.parse_args()


def whole(example: Example, found: Sequence[Finding]) -> bool:
    """Whether nothing of the value is left."""
    return any(one.start <= example.start and example.end <= one.end for one in found)


def touched(example: Example, found: Sequence[Finding]) -> list[Finding]:
    return [one for one in found if one.start < example.end and one.end > example.start]


def share(part: int, of: int) -> str:
    return f"{100 * part / of:.1f}" if of else "-"


def by_kind(seen: Sequence[Seen]) -> list[list[str]]:
    rows = []
    for kind in FINDERS:
        own = [one for one in seen if one.example.kind == kind]
        row = [f"`{kind}`", str(len(own))]
        for rules in ("answers", "logs"):
            masked = sum(whole(one.example, getattr(one, rules)) for one in own)
            said = [
                one.example.kind is not None and bool(touched(one.example, [finding]))
                for one in seen
                for finding in getattr(one, rules)
                if finding.kind == kind
            ]
            row += [share(masked, len(own)), share(sum(said), len(said))]
        rows.append(row)
    return rows


def by_row(seen: Sequence[Seen]) -> list[list[str]]:
    rows = []
    for what, (kind, _) in PERSONAL.items():
        own = [one for one in seen if one.example.what == what]
        with_words = [one for one in own if one.example.cued]
        alone = [one for one in own if not one.example.cued]
        exact = sum(
            any((f.kind, f.start, f.end) == (kind, one.example.start, one.example.end) for f in one.answers)
            for one in own
        )
        masked = [
            share(sum(whole(one.example, one.answers) for one in part), len(part)) for part in (with_words, alone)
        ]
        rows.append(
            [what, *masked, share(exact, len(own)), share(sum(whole(o.example, o.logs) for o in own), len(own))]
        )
    return rows


def nobodys(seen: Sequence[Seen]) -> list[list[str]]:
    rows = []
    for what in NOBODYS:
        own = [one for one in seen if one.example.what == what]
        wrong = [sum(bool(touched(one.example, found)) for one, found in part) for part in (
            [(one, one.answers) for one in own], [(one, one.logs) for one in own]
        )]  # fmt: skip
        rows.append([what, *(share(count, len(own)) for count in wrong)])
    return rows


def microseconds(text: str) -> float:
    """The median of seven rounds."""
    rounds = []
    for _ in range(7):
        begin = time.process_time()
        for _ in range(100):
            redact(text)
        rounds.append((time.process_time() - begin) * 1e4)
    return median(rounds)


def main() -> None:
    given = arguments()
    rules = Rules()
    seen = [Seen(one, find(one.text, rules), find(one.text, RULES)) for one in examples(given.seed, given.each)]
    personal = sum(one.example.kind is not None for one in seen)
    body = f"""`{command(__file__)}`

{machine()}.
{personal:,} texts with one personal value each, half of them with words that say what it is, and
{len(seen) - personal:,} with a value that is nobody's. Found is what has no code point left unmasked. Precision is the
share of what is masked as this kind that is personal at all, in this mix. Answers: `Rules()`, as an answer is
masked; logs: `RULES`, as a log is.

{table(["kind", "texts", "answers: found %", "precision %", "logs: found %", "precision %"], by_kind(seen))}

By what is written, in %; "exactly" is of the right kind and not a code point more:

{table(["what", "words say it", "nothing says it", "exactly", "logs"], by_row(seen))}

What is nobody's and still masked, in %:

{table(["what", "answers", "logs"], nobodys(seen))}

Microseconds of a core to mask a line of a log (median of seven rounds of a hundred; the machine did other things, too):

{table(["line", "time"], [[what, f"{microseconds(text):,.0f}"] for what, text in LINES.items()])}
"""
    print(body)
    replace_section(given.docs, "masking", body)


if __name__ == "__main__":
    main()
