"""What is found in a text, and what is left alone. All values are from standards, documentation or made up."""

# ruff: noqa: RUF001
from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.inference.entities import Entity
from pipelines.inference.masking.finders import Rules, find
from pipelines.inference.masking.national import SCHEMES
from pipelines.inference.masking.records import RULES


def found(text: str, rules: Rules | None = None) -> list[tuple[str, str]]:
    return [(one.kind, text[one.start : one.end]) for one in find(text, rules or Rules())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mail jane.doe+shop@mail.example.co.uk, please.", "jane.doe+shop@mail.example.co.uk"),
        ("请联系jane@example.com谢谢", "jane@example.com"),
        ("ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ"),
        ("müller@bücher.example", "müller@bücher.example"),
        ("用户@例子.广告", "用户@例子.广告"),
        ('"john doe"@example.com', '"john doe"@example.com'),
        ("GET /find?q=jane%40example.com&n=1", "jane%40example.com"),
        ("mailto:jane@example.com", "jane@example.com"),
        ("jane@example.com으로 보내", "jane@example.com"),
        ("to='o'neil@example.com'", "o'neil@example.com"),
    ],
)
def test_mail_addresses_are_found(text: str, expected: str) -> None:
    assert found(text) == [("email", expected)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我的手机号是13800138000，谢谢", ["13800138000"]),
        ("改成13800138000了", ["13800138000"]),
        ("１３８００１３８０００", ["１３８００１３８０００"]),
        ("138 0013 8000、139-0013-9000", ["138 0013 8000", "139-0013-9000"]),
        ("13800138000/13900139000", ["13800138000", "13900139000"]),
        ("+86 138 0013 8000 or 0086-13800138000", ["+86 138 0013 8000", "0086-13800138000"]),
        ("00852 9896 8378 and 0044 7911 958518", ["00852 9896 8378", "0044 7911 958518"]),
        ("座机010-62345678", ["010-62345678"]),
        ("(415) 555-0132 ext. 12", ["(415) 555-0132 ext. 12"]),
        ("555-123-4567", ["555-123-4567"]),
        ("+44 20 7946 0958 and +999 is none", ["+44 20 7946 0958"]),
        ("Tel.: 0171 1234567", ["0171 1234567"]),
        ("call 4155550132", ["4155550132"]),
        ("138\u200b00138000", ["138\u200b00138000"]),
    ],
)
def test_telephone_numbers_are_found(text: str, expected: list[str]) -> None:
    assert found(text) == [("phone", number) for number in expected]


def test_numbers_of_other_countries_are_found_as_their_people_write_them_where_they_are_asked_for() -> None:
    assert found("0171 1234567") == []
    assert found("0171 1234567", Rules(regions=("DE",))) == [("phone", "0171 1234567")]


def test_bare_digits_that_could_be_an_order_are_left_in_an_answer_and_masked_in_a_log() -> None:
    assert found("order 4155550132") == []
    assert found("order 4155550132", RULES) == [("phone", "4155550132")]


@pytest.mark.parametrize(
    "number",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "378282246310005",
        "5555555555554444",
        "2221000000000009",
        "6011111111111117",
        "30569309025904",
        "3530111333300000",
        "6200000000000005",
        "6759649826438453",
    ],
)
def test_cards_are_found_by_scheme_and_check_digit(number: str) -> None:
    assert found(f"卡号{number}，12/27 123") == [("card", number)]
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert ("card", wrong) not in found(f"card {wrong}")


@pytest.mark.parametrize(
    "number",
    ["GB82 WEST 1234 5698 7654 32", "de89370400440532013000", "FR14 2004 1010 0505 0001 3M02 606", "NO9386011117947"],
)
def test_accounts_are_found_and_the_words_behind_them_are_not_part_of_them(number: str) -> None:
    assert found(f"Pay {number} BIC today") == [("iban", number)]


@pytest.mark.parametrize(
    "address", ["203.0.113.7", "10.1.2.3", "2001:db8::7", "fe80::1ff:fe23:4567:890a", "::ffff:203.0.113.7"]
)
def test_addresses_of_hosts_are_found(address: str) -> None:
    assert found(f"来自{address}，端口8080") == [("ip", address)]
    assert found(f"from {address}.") == [("ip", address)]


# From the documentation of python-stdnum, of the authorities, or of ISO 7064.
NATIONAL = {
    "id-cn": ("11010519491231002X", "身份证号{}，"),
    "id-us": ("536-90-4399", "{}"),
    "id-gb": ("AB 12 34 56 C", "{}"),
    "id-es": ("54362315K", "{}"),
    "id-nl": ("111222333", "BSN {}"),
    "id-pl": ("44051401359", "PESEL {}"),
    "id-fi": ("131052-308T", "{}"),
    "id-se": ("811228-9874", "{}"),
    "id-dk": ("211062-5629", "{}"),
    "id-no": ("15108695088", "{}"),
    "id-be": ("85.07.30-033.28", "{}"),
    "id-fr": ("2 95 10 99 126 111 93", "{}"),
    "id-it": ("RCCMNL83S18D969H", "{}"),
    "id-de": ("36 574 261 809", "Steuer-ID {}"),
    "id-in": ("2341 2341 2346", "{}"),
    "id-br": ("390.533.447-05", "{}"),
    "id-mx": ("BOXW310820HNERXN09", "{}"),
    "id-ca": ("123-456-782", "SIN {}"),
    "id-kr": ("971013-1019902", "{}"),
    "id-tr": ("17291716060", "T.C. {}"),
    "id-th": ("1-2345-45678-78-1", "{}"),
    "id-za": ("7503305044089", "ID {}"),
}


def test_every_country_has_an_example() -> None:
    assert set(NATIONAL) == set(SCHEMES)


@pytest.mark.parametrize("kind", NATIONAL)
def test_national_numbers_are_found(kind: str) -> None:
    number, sentence = NATIONAL[kind]
    assert found(sentence.format(number), Rules(kinds=(kind,))) == [(kind, number)]
    assert found(sentence.format(number)) == [(kind, number)]


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("110105194912310021", "check digit"),
        ("11010519491331002X", "month"),
        ("990105194912310025", "province"),
        ("54362315A", "letter"),
        ("666-12-3456", "area that is not given out"),
        ("131052-308U", "check character"),
        ("390.533.447-06", "check digit"),
        ("GB123456A", "letters that are not given out"),
    ],
)
def test_national_numbers_that_cannot_be_are_left(number: str, why: str) -> None:
    assert found(number) == [], why


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-15 12:30:45, 12.05.2023 and 12/05/2023",
        "550e8400-e29b-41d4-a716-446655440000",
        "d41d8cd98f00b204e9800998ecf8427e",
        "1700000000 and 1700000000000",
        "ISBN 978-3-16-148410-0",
        "version 10.20.30.40",
        "1730743168.5",
        "1,234,567,890.00 and 3.14159265358979",
        "127.0.0.1:8000, ::1, 0.0.0.0 and 255.255.255.0",
        "std::abs, x[1::2], ::name",
        "00:1a:2b:3c:4d:5e",
        "@jane_doe, user@localhost, 3 @ 5.99",
        "SF1234567890123",
        "BSN is what 111222334 is not",
        "111222333",
        "",
    ],
)
def test_what_is_nobodys_is_left(text: str) -> None:
    assert found(text) == []


ESCAPED = r"\uff11\uff13\uff18\uff10\uff10\uff11\uff13\uff18\uff10\uff10\uff10"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\u7535\u8bdd13800138000\n13900139000", [("phone", "13800138000"), ("phone", "13900139000")]),
        (ESCAPED, [("phone", ESCAPED)]),
        (r"b'\xe7\x94\xb513800138000'", [("phone", "13800138000")]),
        (r"\\n13800138000\\n", [("phone", "13800138000")]),
        ("tel=%2B8613800138000", [("phone", "%2B8613800138000")]),
        (r"q=m\xc3\xbcller@b.example", [("email", r"m\xc3\xbcller@b.example")]),
    ],
)
def test_escapes_of_json_python_and_urls_hide_nothing(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


def test_names_are_the_entities_of_the_types_that_are_personal() -> None:
    text = "李雷住在北京, Ada in Oslo"
    entities = [Entity("PER", 0, 2, "李雷", 0.9), Entity("LOC", 4, 6, "北京", 0.9), Entity("PERSON", 8, 11, "Ada", 0.9)]

    def named(rules: Rules) -> list[tuple[str, str]]:
        return [(one.kind, text[one.start : one.end]) for one in find(text, rules, entities)]

    assert named(Rules()) == [("name", "李雷"), ("name", "Ada")]
    assert named(Rules(entity_types={"LOC": "place"})) == [("place", "北京")]
    assert named(Rules(kinds=("email",))) == []


def test_where_findings_overlap_all_of_them_is_one_of_the_longest_ones_kind() -> None:
    text = "jane@10.example.com"
    entities = [Entity("PER", 0, 7, "jane@10", 0.9)]
    assert [(one.kind, one.start, one.end) for one in find(text, Rules(), entities)] == [("email", 0, 19)]
    beyond = [Entity("PER", 0, 8, "Ms jane@", 0.9)]
    assert [(one.kind, one.start, one.end) for one in find("Ms jane@example.com", Rules(), beyond)] == [
        ("email", 0, 19)
    ]


def test_an_identity_number_is_not_taken_for_a_card_of_the_same_length() -> None:
    # Gansu's numbers begin with 62, as UnionPay's cards do.
    kinds = {kind for kind, _ in found("620102199001011235", Rules(kinds=("card", "id-cn")))}
    assert kinds <= {"id-cn"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rules(kinds=("mail",)), "No kind of personal data is called 'mail'; known: email, iban, id-cn"),
        (lambda: Rules(regions=("China",)), "'China' is no region: two capital letters of ISO 3166"),
        (lambda: Rules(entity_types={"PER": "A Name"}), "A kind of personal data is written like `name` or `id-cn`"),
        (lambda: Rules(kinds=("email",)).only(["card"]), "A kind that is not masked here is asked for; kinds: email."),
    ],
)
def test_what_is_unknown_is_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(UserError, match="^" + message.replace("(", r"\(")):
        make()


PIECES = st.sampled_from(
    ("jane@example.com", "13800138000", "4111 1111 1111 1111", "11010519491231002X", "2001:db8::1", "203.0.113.7",
     "GB82 WEST 1234 5698 7654 32", "+", "0", "1 ", "-", ".", ":", "@", "a", "X", "，", "\\u", "\\n", "%40", "\u200b",
     "[EMAIL:", "]", "\ud800", "Tel. ", '"', "|", "::", "１３", "１")
)  # fmt: skip
TEXTS = st.text() | st.lists(PIECES, max_size=12).map("".join)


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_whatever_the_text_is_the_findings_lie_in_it_in_order_and_apart(text: str) -> None:
    for rules in (Rules(), RULES):
        places = [(one.start, one.end) for one in find(text, rules)]
        assert all(0 <= start < end <= len(text) for start, end in places)
        assert all(end <= start for (_, end), (start, _) in pairwise(places))
