"""Tokens in place of personal data, and the way back."""

# ruff: noqa: RUF001
from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.inference.masking.finders import Rules, find
from pipelines.inference.masking.finding import Finding
from pipelines.inference.masking.replacing import Masked, Replaced, mask, unmask
from pipelines.inference.masking.tokens import new_key, read_key, seal

KEY, OTHER = bytes(range(64)), bytes(range(1, 65))
TEXT = "李雷：13800138000, jane@example.com."
RULES = Rules()


def test_what_is_found_is_replaced_by_its_kind() -> None:
    assert mask(TEXT, find(TEXT, RULES)) == Masked(
        "李雷：[PHONE], [EMAIL].", (Replaced("phone", 3, 14, 3, 10), Replaced("email", 16, 32, 12, 19))
    )


def test_with_a_key_the_text_comes_back() -> None:
    masked = mask(TEXT, find(TEXT, RULES), KEY).text
    assert re.fullmatch(r"李雷：\[PHONE:[\w-]{36}\], \[EMAIL:[\w-]{43}\]\.", masked)
    assert unmask(masked, KEY) == TEXT


def test_the_same_value_has_the_same_token_and_the_kind_is_sealed_with_it() -> None:
    assert seal("phone", "1", KEY) == "[PHONE:5RQt2p9ENyPRIDsdp1qrmLA]" or seal("phone", "1", KEY) == seal(
        "phone", "1", KEY
    )
    assert seal("phone", "1", KEY) != seal("phone", "2", KEY)
    assert seal("phone", "1", KEY)[len("[PHONE:") :] != seal("email", "1", KEY)[len("[EMAIL:") :]


@pytest.mark.parametrize("change", ["key", "letter", "kind", "cut"])
def test_another_key_or_a_changed_token_is_refused(change: str) -> None:
    token = seal("email", "jane@example.com", KEY)
    changed = {
        "key": token,
        "letter": token[:10] + ("A" if token[10] != "A" else "B") + token[11:],
        "kind": token.replace("EMAIL", "PHONE"),
        "cut": "[EMAIL:abc]",
    }[change]
    with pytest.raises(UserError, match="does not open with this key") as refused:
        unmask(changed, OTHER if change == "key" else KEY)
    assert "jane" not in str(refused.value)


def test_a_text_that_holds_tokens_already_comes_back_as_it_was() -> None:
    text = f"[EMAIL:abc] {seal('email', 'a', OTHER)} [EMAIL]"
    assert unmask(mask(text, [], KEY).text, KEY) == text


def test_a_key_is_64_bytes() -> None:
    assert len(read_key(new_key() + "\n")) == 64
    with pytest.raises(UserError, match="has 3 bytes: 64 random bytes in base64url are needed"):
        read_key("YWJj")
    with pytest.raises(UserError, match="is not base64url") as refused:
        read_key("pa$$word")
    assert "pa$$word" not in str(refused.value)


def test_places_are_carried_from_one_text_to_the_other() -> None:
    #          0123456789012345678
    # raw:     Ada, a@b.example in Oslo
    # masked:  Ada, [EMAIL] in Oslo
    masked = mask("Ada, a@b.example in Oslo", [Finding("email", 5, 16)])
    assert masked.text == "Ada, [EMAIL] in Oslo"
    assert [masked.masked_span(*span) for span in [(0, 3), (5, 16), (7, 9), (20, 24), (0, 24), (4, 5), (0, 6)]] == [
        (0, 3), (5, 12), (5, 12), (16, 20), (0, 20), (4, 5), (0, 12),
    ]  # fmt: skip
    assert [masked.raw_span(*span) for span in [(0, 3), (5, 12), (6, 7), (16, 20), (0, 20)]] == [
        (0, 3), (5, 16), (5, 16), (20, 24), (0, 24),
    ]  # fmt: skip


PIECES = st.sampled_from(
    [
        "jane@example.com",
        "13800138000",
        " ",
        "，",
        "[EMAIL:",
        "[PHONE:abcd]",
        "]",
        "[",
        "身份证11010519491231002X",
        "\ud800",
        "a",
    ]
)
TEXTS = st.text() | st.lists(PIECES, max_size=10).map("".join)


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_every_text_comes_back(text: str) -> None:
    assert unmask(mask(text, find(text, RULES), KEY).text, KEY) == text


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_nothing_that_was_found_is_left_and_nothing_else_is_changed(text: str) -> None:
    found = find(text, RULES)
    masked = mask(text, found)
    rest, done = [], 0
    for one in masked.replaced:
        assert masked.text[one.masked_start : one.masked_end] == f"[{one.kind.upper()}]"
        rest.append(masked.text[done : one.masked_start])
        done = one.masked_end
    kept, done = [], 0
    for finding in found:
        kept.append(text[done : finding.start])
        done = finding.end
    assert [*rest, masked.text[masked.replaced[-1].masked_end if found else 0 :]] == [*kept, text[done:]]


@settings(deadline=None, max_examples=200)
@given(TEXTS, st.data())
def test_places_outside_of_tokens_hold_the_same_text(text: str, data: st.DataObject) -> None:
    masked = mask(text, find(text, RULES))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    begin, stop = masked.masked_span(start, end)
    raw_start, raw_end = masked.raw_span(begin, stop)
    assert raw_start <= start <= end <= raw_end or start == end
    if not any(one.start < end and start < one.end for one in masked.replaced) and start < end:
        assert masked.text[begin:stop] == text[start:end]
