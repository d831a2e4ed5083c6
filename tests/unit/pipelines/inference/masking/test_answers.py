"""Answers of every kind with their personal data masked."""

# ruff: noqa: RUF001
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pipelines.errors import UserError
from pipelines.inference.answer_predictor import Answer, Question
from pipelines.inference.class_predictor import Label, TextOrPair
from pipelines.inference.entities import Entity
from pipelines.inference.entity_predictor import Entities
from pipelines.inference.mask_predictor import Guess, Guesses
from pipelines.inference.masking.answers import MaskAsked, MaskOptions, masks
from pipelines.inference.masking.finders import Rules
from pipelines.inference.masking.replacing import unmask
from pipelines.inference.predictor import Text
from pipelines.inference.text_predictor import Prompt, Written
from pipelines.inference.vector_predictor import Vector

KEY = bytes(64)
RULES = Rules()


def masked(output: Any, given: Any, asked: MaskAsked = True, **more: Any) -> Any:
    wanted = masks(asked, RULES, KEY, **more)
    return output if wanted is None else wanted.output(output, given)


def entity(text: str, piece: str, kind: str) -> Entity:
    start = text.index(piece)
    return Entity(kind, start, start + len(piece), piece, 0.9)


def test_entities_keep_their_places_and_lose_their_text() -> None:
    text = "李雷，手机13800138000，住在北京"
    given = Entities([entity(text, "李雷", "PER"), entity(text, "13800138000", "NUM"), entity(text, "北京", "LOC")])
    assert masked(given, Text(text)) == Entities(
        [
            Entity("PER", 0, 2, "[NAME]", 0.9),
            Entity("NUM", 5, 16, "[PHONE]", 0.9),
            Entity("LOC", 19, 21, "北京", 0.9),
        ]
    )


def test_a_piece_of_a_number_is_masked_by_where_it_stands() -> None:
    text = "My BSN is 111222333."
    assert masked(Entities([entity(text, "111222", "NUM")]), Text(text)) == Entities(
        [Entity("NUM", 10, 16, "[ID-NL]", 0.9)]
    )
    answer = Answer("111222333", 10, 19, 0.8)
    assert masked(answer, Question("Which?", text)) == Answer("[ID-NL]", 10, 19, 0.8)
    assert masked(Answer(None, None, None, 0.8), Question("Which?", text)) == Answer(None, None, None, 0.8)


def test_what_was_personal_in_the_input_is_masked_where_the_model_repeats_it() -> None:
    given = Prompt("My BSN is 111222333.")
    assert (
        masked(Written("111222333 it is; 1112223330 is not.", True, 0), given).text
        == "[ID-NL] it is; 1112223330 is not."
    )


def test_names_that_a_model_finds_are_masked_and_only_as_whole_words() -> None:
    def names(text: str) -> list[Entity]:
        return [entity(text, "Li", "PER")] if text.startswith("I am Li") else []

    assert (
        masked(Written("Hi Li, Lizards live.", True, 0), Prompt("I am Li"), names=names).text
        == "Hi [NAME], Lizards live."
    )


def test_outputs_without_texts_of_people_stay_what_they_are() -> None:
    for output in (
        Vector([0.6, -0.8]),
        Label("card_arrival", 0.98, {"card_arrival": 0.98, "13800138000": 0.02}),
        Guesses([[Guess("capital", 0.9)]]),
    ):
        assert masked(output, TextOrPair("Where is my card?", None)) == output


def test_only_the_kinds_asked_for_are_masked() -> None:
    given, output = Prompt("?"), Written("jane@example.com 13800138000", True, 0)
    assert masked(output, given, MaskOptions(kinds=["phone"])).text == "jane@example.com [PHONE]"
    assert masked(output, given, False) is output


def test_reversible_tokens_open_with_the_endpoints_key() -> None:
    text = "jane@example.com 13800138000"
    sealed = masked(Written(text, True, 0), Prompt("?"), MaskOptions(reversible=True)).text
    assert "jane" not in sealed
    assert unmask(sealed, KEY) == text


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(UserError, match="cannot be reversed here: the endpoint has no key"):
        masks(MaskOptions(reversible=True), RULES)
    with pytest.raises(UserError, match="not masked here is asked for; kinds: email, iban"):
        masks(MaskOptions(kinds=["mail"]), RULES)


def test_a_request_may_say_yes_or_how() -> None:
    form: TypeAdapter[MaskAsked] = TypeAdapter(MaskAsked)
    assert form.validate_json("true") is True
    assert form.validate_json('{"kinds": ["email"], "reversible": true}') == MaskOptions(
        kinds=["email"], reversible=True
    )
    for wrong in ('{"kind": ["email"]}', '{"kinds": []}', '"yes please"'):
        with pytest.raises(ValidationError):
            form.validate_json(wrong)


@dataclass(frozen=True, slots=True)
class Nested:
    parts: tuple[Written, ...]
    notes: dict[str, list[str]]


def test_every_string_of_an_output_is_masked_however_deep_it_is() -> None:
    output = Nested((Written("a@b.example", True, 0),), {"a@b.example": ["call 4155550132"]})
    assert masked(output, Prompt("?")) == Nested((Written("[EMAIL]", True, 0),), {"a@b.example": ["call [PHONE]"]})
