"""Tagged sentences: entities by the words of the raw text that they stand for, whatever became of those."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.data.examples import TaggedSentence
from pipelines.data.iob import OUTSIDE
from pipelines.data.tagged import TAGGED
from pipelines.inference.entity_predictor import Entities
from pipelines.inference.predictor import Text
from pipelines.report.entities import EntityReport, Score, entities_in, entity_report
from pipelines.report.report import Report
from pipelines.robustness.sentence import Sentence, tagged_sentence
from pipelines.robustness.subject import Said, Sentences, Subject

Place = tuple[int, int]
"""The first and the last word of the raw text."""


class TaggedSubject(Subject):
    kind, of_what = TAGGED, "entities"

    def sentences(self, row: TaggedSentence) -> Sentences:
        return (tagged_sentence(row.words, row.tags),)

    def given(self, sentences: Sentences) -> Text:
        return Text(sentences[0].text)

    def entities(self, rows: Sequence[Sentences]) -> Mapping[str, Sequence[Sequence[str]]]:
        found: dict[str, dict[tuple[str, ...], None]] = defaultdict(dict)
        for (sentence,) in rows:
            for kind, first, last in sorted(entities_in(sentence.tags), key=lambda one: one[1]):
                found[kind][tuple(word.text for word in sentence.words[first : last + 1])] = None
        return {kind: list(words) for kind, words in found.items()}

    def flips(self, before: Entities, after: Entities, changed: Sentences, raw: Sentences) -> list[bool]:
        return [flipped for _, flipped in self.said(before, after, changed, raw)]

    def said(self, before: Entities, after: Entities, changed: Sentences, raw: Sentences) -> list[Said]:
        """An entity of another type, or of other words, has changed; what is new counts as its own type."""
        was, now = _by_place(before, raw[0]), _by_place(after, changed[0])
        return [(was.get(place) or now[place], was.get(place) != now.get(place)) for place in sorted({*was, *now})]

    def report(self, rows: Sequence[Any], texts: Sequence[Sentences], answers: Sequence[Any]) -> EntityReport:  # noqa: ARG002
        """Word by word of the labelled text: a word is in an entity if a part of it is."""
        return entity_report(
            [sentence.tags for (sentence,) in texts],
            [tags_of(answer, sentence) for (sentence,), answer in zip(texts, answers, strict=True)],
        )

    def by_label(self, report: Report) -> Mapping[str, Score]:
        assert isinstance(report, EntityReport)
        return report.types

    def true(self, row: TaggedSentence) -> str:
        words = sorted(entities_in(row.tags), key=lambda one: one[1])
        return ", ".join(f"{' '.join(row.words[a : b + 1])} ({kind})" for kind, a, b in words) or "nothing"

    def told(self, answer: Entities) -> str:
        return ", ".join(f"{one.text} ({one.type})" for one in answer.entities) or "nothing"


def spans_of(answer: Entities, sentence: Sentence) -> list[tuple[str, int, int]]:
    """Of each entity that is said its type, and the first and the last word that it has a part in."""
    spans, places = [], sentence.places()
    for one in answer.entities:
        inside = [i for i, (start, end) in enumerate(places) if start < one.end and one.start < end]
        if inside:
            spans.append((one.type, inside[0], inside[-1]))
    return spans


def tags_of(answer: Entities, sentence: Sentence) -> list[str]:
    """IOB2 tags of the words; of two entities in one word the first is told."""
    tags = [OUTSIDE] * len(sentence.words)
    for kind, first, last in spans_of(answer, sentence):
        free = [i for i in range(first, last + 1) if tags[i] == OUTSIDE]
        for i in free:
            tags[i] = f"{'B' if i == free[0] else 'I'}-{kind}"
    return tags


def _by_place(answer: Entities, sentence: Sentence) -> dict[Place, str]:
    """Entities by the words of the raw text; one in a word that was added has no place there."""
    found: dict[Place, str] = {}
    for kind, first, last in spans_of(answer, sentence):
        stood = [word.stands_for for word in sentence.words[first : last + 1] if word.stands_for is not None]
        if stood:
            found.setdefault((stood[0][0], stood[-1][1]), kind)
    return found
