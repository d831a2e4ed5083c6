"""A text that is masked while it is written, cut at every place."""

# ruff: noqa: RUF001
from __future__ import annotations

from random import Random

import pytest

from pipelines.inference.masking.answers import Masking, Masks
from pipelines.inference.masking.finders import Rules
from pipelines.inference.masking.replacing import mask, unmask
from pipelines.inference.masking.streams import LEAD, LONGEST_WORD, REACH, MaskedStream

PLAIN = "It was a long day, and nobody had anything to say of it but that it rained. "
TEXTS = [
    "Write to ann@example.org, or call +49 30 2345678 or (415) 555-0132 before noon.",
    'He said "hello", then "ann lee"@example.org and "nothing more" at all, which was so.',
    "Pay to DE89 3704 0044 0532 0130 00 or GB29 NWBK 6016 1331 9268 19, it said; is 89 enough?",
    "My number is QQ 12 34 56 C, that is 111222333, which is my BSN. No, 078-05-1120.",
    "Card 4111 1111 1111 1111 exp 12/27 was charged from 192.168.7.23 and fe80::1ff:fe23:4567:890a twice.",
    "客户说改成13800138000了，请打电话：010-62345678，或写信到李雷@例子.中国，谢谢！身份证号11010519491231002X。",
    "The answer\nis 4155550132\n(telephone)\nand 20241105093 an order's. 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18",
    'In JSON: {"text": "\\u7535\\u8bdd 13800138000\\n"}, and in a link: mailto:ann%40example.org?subject=x.',
    "Version 10.0.0.12 of 2024-01-15 12:30:59, id 123e4567-e89b-12d3-a456-426614174000, loss 0.5312.",
    "RSSMRA85T10A562S and ABCPD1234E and [EMAIL:abcd_-] and [EMAIL] and a@b and ann@example.org",
]


def beside(*texts: str, key: bytes | None = None) -> Masking:
    return Masks(Rules(), key).beside(texts)


def said(text: str, masking: Masking, cuts: list[int]) -> list[str]:
    stream = MaskedStream(masking)
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return [*map(stream.add, pieces), stream.rest()]


@pytest.mark.parametrize("text", [*TEXTS, *(PLAIN * 3 + text + " " + PLAIN * 3 for text in TEXTS)])
def test_the_pieces_are_what_masking_the_whole_gives(text: str) -> None:
    masking, draw = beside("My BSN is 111222333."), Random(0)
    expected = mask(text, masking.found(text)).text
    ways = [list(range(1, len(text))), []]
    ways += [sorted(draw.sample(range(1, len(text)), draw.randint(1, 30))) for _ in range(3)]
    for cuts in ways:
        assert "".join(said(text, masking, cuts)) == expected


@pytest.mark.parametrize("text", TEXTS)
def test_a_reversible_stream_opens_as_what_was_written(text: str) -> None:
    key = bytes(64)
    pieces = said(PLAIN + text + PLAIN, beside(key=key), list(range(1, len(PLAIN + text + PLAIN))))
    assert unmask("".join(pieces), key) == PLAIN + text + PLAIN


def test_what_the_question_says_is_masked_where_it_is_repeated_however_it_is_cut() -> None:
    question, text = "My BSN is 111222333 and my name@is.example, ok?", f"So 111222333 it is. {PLAIN}name@is.example"
    for cuts in (list(range(1, len(text))), [5], [30, 60]):
        assert "".join(said(text, beside(question), cuts)) == f"So [ID-NL] it is. {PLAIN}[EMAIL]"


def test_plain_text_is_held_back_by_a_few_words_only() -> None:
    stream, shown, most = MaskedStream(beside()), 0, 0
    for i, letter in enumerate(PLAIN * 5, 1):
        shown += len(stream.add(letter))
        most = max(most, i - shown)
    assert most < 40


@pytest.mark.parametrize("text", ["7 " * 2000, "x" * 4000, "a.b-" * 1000, '"' * 3000, "北京" * 2000, "1" * 4000])
def test_whatever_is_written_the_wait_has_an_end(text: str) -> None:
    stream, shown, most = MaskedStream(beside()), 0, 0
    for i in range(0, len(text), 20):
        shown += len(stream.add(text[i : i + 20]))
        most = max(most, i + 20 - shown)
    assert most <= REACH + LEAD + LONGEST_WORD + 20
