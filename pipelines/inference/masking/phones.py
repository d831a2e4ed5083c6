"""Telephone numbers, by the numbering plans of the countries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from phonenumbers import Leniency, PhoneNumberMatcher

from pipelines.inference.masking.reading import Reading

# Ten or eleven digits in a row are as often the number of an order. Mobile numbers of China are always written so.
_CUE = re.compile(
    r"(?<![^\W\d_])(?:tele(?:ph|f|c)|t[eé]l(?![^\W\d_])|ph(?:one)?(?![a-z])|call(?![a-z])|call(?:ed|ing)|mob|cell"
    r"|fax|whatsapp|sms|handy|ruf|numéro|portable|celular|m[oó]vil|cep|ring|dial|text me|contact|reach|тел|звон)"
    r"|電話|电话|手机|手機|联系|聯絡|致电|拨打|传真|座机|热线|微信|携帯|전화|휴대|연락",
    re.IGNORECASE,
)
_CHINESE_MOBILE = re.compile("(?:86)?1[3-9][0-9]{9}")
_MOST_CANDIDATES = 65_535
# The library takes `2024-01-15 12` for one.
_DATE = re.compile(r"(?<![0-9])(?:19|20)[0-9]{2}([-./])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12][0-9]|3[01])(?![0-9])")
# The library takes a millisecond to say that there is none.
_ANY = re.compile(r"[0-9](?:[-. ()\[\]/~xー]{0,4}[0-9]){5}")
_DIGITS = re.compile("[0-9]+")


def find_phones(reading: Reading, regions: Sequence[str], *, cautious: bool) -> Iterator[tuple[int, int]]:
    """International numbers of all countries, and national ones as people of `regions` (ISO 3166) write them.

    A national number without any separator needs a cue (`Tel.`), unless it is a Chinese mobile, or one is `cautious`.
    """
    text = _DATE.sub(lambda found: "|" * len(found[0]), reading.text)
    if not _ANY.search(text):
        return
    for region in regions:
        for found in PhoneNumberMatcher(text, region, Leniency.VALID, _MOST_CANDIDATES):
            bare = _DIGITS.fullmatch(found.raw_string) and not _CHINESE_MOBILE.fullmatch(found.raw_string)
            if cautious or not bare or reading.says(_CUE, found.start, found.end):
                yield found.start, found.end
