"""Telephone numbers, by the numbering plans of the countries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from phonenumbers import Leniency, PhoneNumberMatcher

from pipelines.inference.masking.reading import BEFORE, BEHIND, Reading

# Ten or eleven digits in a row are as often the number of an order. Mobile numbers of China are always written so.
_CUE = re.compile(
    r"(?<![^\W\d_])(?:t[eé]l[eé](?:ph|f)|tel(?![^\W\d_])|ph(?:one)?(?![a-z])|call(?:ed|ing)?(?![a-z])|mob|cell|fax"
    r"|whatsapp|sms(?![a-z])|handy|ruf|portable|celular|m[oó]vil|cep(?![a-z])|dial|contact|reach|тел|звон)"
    r"|電話|电话|手机|手機|联系|聯絡|致电|拨打|传真|座机|热线|微信|携帯|전화|휴대|연락",
    re.IGNORECASE,
)
_AFTER_CUE = re.compile(rf"[^0-9+(\n]{{0,12}}(?P<number>[+(]?[0-9](?:[-. ()/]{{0,2}}[0-9]){{6,14}}){BEHIND}")
_CHINESE_MOBILE = re.compile("(?:86)?1[3-9][0-9]{9}")
# Area codes are added every year, and tests make some up: what is written as in North America is one.
_NORTH_AMERICAN = re.compile(
    rf"{BEFORE}(?:1[-. ])?(?:\([0-9]{{3}}\) ?|[0-9]{{3}}[-. ])[0-9]{{3}}[-. ][0-9]{{4}}"
    rf"(?: ?(?:x|ext\.?) ?[0-9]{{1,6}})?{BEHIND}",
    re.IGNORECASE,
)
_MOST_CANDIDATES = 65_535
# The library takes `2024-01-15 12` and `255.255.255.0` for numbers.
_OTHERS = re.compile(
    r"(?<![0-9])(?:(?:19|20)[0-9]{2}([-./])[01]?[0-9]\1[0-3]?[0-9]|[0-3]?[0-9]([-./])[01]?[0-9]\2(?:19|20)[0-9]{2}"
    r"|[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?![0-9])"
)
# The library takes a millisecond to say that there is none.
_ANY = re.compile(r"[0-9](?:[-. ()\[\]/~xー]{0,4}[0-9]){5}")
# Of whatever country: groups of digits, or what begins with the 0 that long-distance calls begin with.
_MAYBE = re.compile(rf"{BEFORE}(?:\(?[0-9]{{1,5}}\)?(?:[ -][0-9]{{2,8}}){{1,4}}|0[1-9][0-9]{{7,10}}){BEHIND}")
_FEWEST, _MOST = 8, 15
# `00` is what most countries dial for `+`: two signs for two, so that places stay what they are.
_ABROAD = re.compile(r"(?<![0-9A-Za-z.])00(?=[1-9])")
_DIGITS = re.compile("[0-9]+")
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+")


def find_phones(reading: Reading, regions: Sequence[str], *, cautious: bool) -> Iterator[tuple[int, int]]:
    """International numbers of all countries, and national ones as people of `regions` (ISO 3166) write them.

    A national number without any separator needs a cue (`Tel.`), unless it is a Chinese mobile, or one is `cautious`.
    Right behind a cue whatever is as long as a telephone number is one; to the cautious, whatever is grouped like one.
    """
    text = _OTHERS.sub(lambda found: "|" * len(found[0]), reading.text)
    if not _ANY.search(text):
        return
    for cue in _CUE.finditer(text):
        if said := _AFTER_CUE.match(text, cue.end()):
            yield said.span("number")
    for region in regions:
        for found in PhoneNumberMatcher(text, region, Leniency.VALID, _MOST_CANDIDATES):
            bare = _DIGITS.fullmatch(found.raw_string) and not _CHINESE_MOBILE.fullmatch(found.raw_string)
            # A second since 1970 with its parts has a Chinese mobile's digits.
            if _DECIMAL.fullmatch(found.raw_string):
                continue
            if cautious or not bare or reading.says(_CUE, found.start, found.end):
                yield found.start, found.end
    dialled = _ABROAD.sub("+ ", text)
    if "+" in dialled:
        # With the country said, a number that nobody has (yet) is still meant as one.
        for found in PhoneNumberMatcher(dialled, None, Leniency.POSSIBLE, _MOST_CANDIDATES):
            yield found.start, found.end
    if cautious:
        for maybe in _MAYBE.finditer(text):
            if _FEWEST <= sum(map(str.isdigit, maybe[0])) <= _MOST:
                yield maybe.span()
    if "US" in regions or "CA" in regions:
        for written in _NORTH_AMERICAN.finditer(text):
            yield written.span()
