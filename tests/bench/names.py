"""How many people's names a model finds to mask, beside the other types, and what else it takes for names.

    python -m tests.bench.names MODEL FILE [FILE ...]

Every word of a labelled file counts as it is written; a sentence's text is its words with spaces between them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.config import DataConfig
from pipelines.data.read import read_split
from pipelines.data.tagged import TAGGED
from pipelines.inference.entities import Entity
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.masking.finders import Rules, find
from pipelines.inference.predictor import Text
from pipelines.report.entities import entities_in
from tests.bench.tables import BENCHMARKS, command, machine, replace_section, table

PEOPLE = ("PER", "person")
"""What data sets call people."""
SAME = {"person": "PER", "location": "LOC"}
"""Types that are the model's by another name; what is called otherwise is not the same thing."""


@dataclass(frozen=True, slots=True)
class Place:
    type: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A sentence: where entities are, where the model says that they are, and where a masked answer has tokens."""

    text: str
    there: Sequence[Place]
    said: Sequence[Place]
    names: Sequence[Place]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    return parser.parse_args()


def labelled(words: Sequence[str], tags: Sequence[str]) -> tuple[str, list[Place]]:
    """The text of words, and where its entities stand."""
    starts = [sum(len(word) + 1 for word in words[:i]) for i in range(len(words))]
    places = [Place(kind, starts[first], starts[last] + len(words[last])) for kind, first, last in entities_in(tags)]
    return " ".join(words), places


def seen(predictor: EntityPredictor, file: str) -> list[Seen]:
    rows = read_split(file, split="test", data=DataConfig(), kind=TAGGED).rows
    texts, there = zip(*(labelled(row.words, row.tags) for row in rows), strict=True)
    found = predictor.predict([Text(text) for text in texts])
    # Names alone: numbers and addresses need no model.
    rules = Rules(kinds=("name",))
    return [
        Seen(text, places, [_place(one) for one in output.entities], _masked(text, output.entities, rules))
        for text, places, output in zip(texts, there, found, strict=True)
    ]


def _place(one: Entity) -> Place:
    return Place(one.type, one.start, one.end)


def _masked(text: str, entities: Sequence[Entity], rules: Rules) -> list[Place]:
    return [Place(one.kind, one.start, one.end) for one in find(text, rules, entities)]


def covers(outer: Place, inner: Place) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end


def touches(one: Place, other: Place) -> bool:
    return one.start < other.end and other.start < one.end


def share(part: int, of: int) -> str:
    return f"{100 * part / of:.1f}" if of else "-"


def by_type(seen: Sequence[Seen]) -> list[list[str]]:
    """Of each type that the model has a word for: what is found of it."""
    kinds = sorted({place.type for one in seen for place in one.there})
    rows = []
    for kind in sorted(kinds, key=lambda kind: (kind not in PEOPLE, kind)):
        own = SAME.get(kind, kind)
        there = [(one, place) for one in seen for place in one.there if place.type == kind]
        said = [(one, place) for one in seen for place in one.said if place.type == own]
        if not said:
            continue
        whole = sum(any(p.type == own and covers(p, place) for p in one.said) for one, place in there)
        part = sum(any(p.type == own and touches(p, place) for p in one.said) for one, place in there)
        exact = sum(Place(own, place.start, place.end) in one.said for one, place in there)
        right = sum(any(p.type == kind and touches(p, place) for p in one.there) for one, place in said)
        what = f"{kind}: masked" if kind in PEOPLE else kind
        counts = [share(whole, len(there)), share(part, len(there)), share(exact, len(there)), share(right, len(said))]
        rows.append([what, str(len(there)), *counts])
    return rows


def taken_for_names(seen: Sequence[Seen]) -> list[list[str]]:
    """What is masked as a name, by what it is."""
    masked = [(one, place) for one in seen for place in one.names]
    kinds = sorted({place.type for one in seen for place in one.there}, key=lambda kind: (kind not in PEOPLE, kind))
    rows, left = [], masked
    for kind in kinds:
        here = [pair for pair in left if any(p.type == kind and touches(p, pair[1]) for p in pair[0].there)]
        # A place that touches a person and something else is the person's.
        left = [pair for pair in left if pair not in here]
        rows.append([kind, str(len(here)), share(len(here), len(masked))])
    handles = [pair for pair in left if "@" in pair[0].text[max(0, pair[1].start - 2) : pair[1].end]]
    rows.append(["a handle (@...) that is not labelled", str(len(handles)), share(len(handles), len(masked))])
    others = len(left) - len(handles)
    return [*rows, ["nothing that is labelled", str(others), share(others, len(masked))]]


def main() -> None:
    given = arguments()
    predictor = EntityPredictor.load(given.model, threads=1)
    parts = []
    for file in given.files:
        found = seen(predictor, file)
        path = Path(file)
        head = ["type", "there", "whole %", "in part %", "exactly %", "precision %"]
        parts.append(
            f"`{path.parent.name}/{path.name}`, {len(found):,} sentences:\n\n{table(head, by_type(found))}\n\n"
            f"What is masked as a name there:\n\n{table(['it is', 'places', 'share %'], taken_for_names(found))}"
        )
    body = f"""## Names that are masked

`{command(__file__)}`

{machine()}.
MiniLM-L6 fine-tuned on ner_btc_en (types PER, LOC, ORG) reads test sentences as it answers; what it tags as PER is
masked as a name (`Rules(kinds=("name",))`). *Whole*: no code point of it is left outside entities of its type, which is
what masking a name must do. *In part*: something of it is tagged so. *Exactly*: with the labelled beginning and end.
*Precision*: of what is tagged so, the share that touches something labelled so. Types of the data that the model has no
word for are left out of the first table. In ner_btc_en, what it learnt from, a handle (`@ ada`) is a person; in
ner_wnut17_en none is.

{chr(10).join(part + chr(10) for part in parts)}"""
    print(body)
    replace_section(given.docs, "names", body)


if __name__ == "__main__":
    main()
