"""Numbers that states give to people: how they are written, and when one is real."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.cn import ric
from stdnum.de import idnr as de_idnr
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.exceptions import ValidationError
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar, pan
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.th import pin
from stdnum.tr import tckimlik
from stdnum.us import itin, ssn
from stdnum.za import idnr as za_idnr

from pipelines.inference.masking.reading import BEFORE, BEHIND, Reading

Check = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way in which a number is written."""

    pattern: re.Pattern[str]
    is_real: Check
    """What the pattern cannot say: check digits and dates."""
    cue: re.Pattern[str] | None = None
    """What must stand close by, where too many other numbers pass."""
    long: bool = True
    """Whether six of its digits stand together."""


def _written(pattern: str) -> re.Pattern[str]:
    return re.compile(f"{BEFORE}(?:{pattern}){BEHIND}", re.IGNORECASE)


def _cue(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W\d_])(?:{words})", re.IGNORECASE)


def _always(_: str) -> bool:
    return True


def _is_chinese(number: str) -> bool:
    """Check character (GB 11643-1999, ISO 7064 mod 11-2) and date.

    The place is not looked up, as the library's `validate` does: its list wants the county to have existed when the
    person was born, and the oldest numbers were given out in 1984.
    """
    number = ric.compact(number)
    try:
        born = ric.get_birth_date(number)
    except ValidationError:
        return False
    # 11 to 65 are provinces, 81 to 83 residents from Hong Kong, Macau and Taiwan.
    placed = "11" <= number[:2] <= "65" or "81" <= number[:2] <= "83"
    return placed and born.year > 1850 and born <= date.today() and ric.calc_check_digit(number) == number[-1]


def _is_korean(number: str) -> bool:
    """Numbers given since October 2020 have no check digit: their last six digits are drawn."""
    try:
        rrn.get_birth_date(number)
    except ValidationError:
        return False
    return True


def _is_finnish(number: str) -> bool:
    return hetu.is_valid(number, allow_temporary=True)


SCHEMES: dict[str, tuple[Scheme, ...]] = {
    "id-cn": (Scheme(_written(r"\d{6}[ -]?\d{8}[ -]?\d{3}[\dX]"), _is_chinese),),
    "id-us": (
        Scheme(_written(r"\d{3}-\d{2}-\d{4}"), lambda number: ssn.is_valid(number) or itin.is_valid(number)),
        Scheme(
            _written(r"\d{3} ?\d{2} ?\d{4}"),
            lambda number: ssn.is_valid(number.replace(" ", "")) or itin.is_valid(number.replace(" ", "")),
            _cue(r"ssn|social security|itin|taxpayer"),
        ),
    ),
    # HMRC's manual NIM39110 names the letters; there is no check digit.
    "id-gb": (
        Scheme(
            _written(r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"),
            _always,
        ),
        Scheme(_written(r"\d{3}[ -]?\d{3}[ -]?\d{4}"), nhs.is_valid, _cue("nhs")),
    ),
    "id-es": (
        Scheme(_written(r"\d{8}[ -]?[A-Z]|\d{2}\.\d{3}\.\d{3}[ -]?[A-Z]"), lambda n: dni.is_valid(n.replace(".", ""))),
        Scheme(_written(r"[XYZ][ -]?\d{7}[ -]?[A-Z]"), nie.is_valid),
    ),
    "id-nl": (
        Scheme(_written(r"\d{4}[. ]\d{2}[. ]\d{3}"), bsn.is_valid),
        Scheme(_written(r"\d{9}|\d{3} \d{3} \d{3}"), bsn.is_valid, _cue(r"bsn|burgerservice|sofi")),
    ),
    "id-pl": (Scheme(_written(r"\d{11}"), pesel.is_valid, _cue("pesel")),),
    "id-fi": (Scheme(_written(r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]"), _is_finnish),),
    "id-se": (
        Scheme(_written(r"(?:\d{2})?\d{6}[-+]\d{4}"), personnummer.is_valid),
        Scheme(_written(r"(?:\d{2})?\d{10}"), personnummer.is_valid, _cue(r"person(?:nummer|nr)|samordning")),
    ),
    "id-dk": (
        Scheme(_written(r"\d{6}-\d{4}"), cpr.is_valid),
        Scheme(_written(r"\d{6} ?\d{4}"), cpr.is_valid, _cue(r"cpr|personnummer")),
    ),
    "id-no": (Scheme(_written(r"\d{6} ?\d{5}"), fodselsnummer.is_valid),),
    "id-be": (Scheme(_written(r"\d{2}[. ]?\d{2}[. ]?\d{2}[- ]?\d{3}[. ]?\d{2}"), nn.is_valid),),
    "id-fr": (Scheme(_written(r"[12378] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}"), nir.is_valid),),
    "id-it": (
        Scheme(_written(r"[A-Z]{6}[\dL-V]{2}[A-Z][\dL-V]{2}[A-Z][\dL-V]{3}[A-Z]"), codicefiscale.is_valid, long=False),
    ),
    "id-de": (
        Scheme(
            _written(r"\d{2} ?\d{3} ?\d{3} ?\d{3}"),
            de_idnr.is_valid,
            _cue(r"steuer-?(?:id|nummer|liche)|idnr|id-nr|tin(?![a-z])|tax id"),
        ),
    ),
    "id-in": (
        # Cards are written in fours as well.
        Scheme(_written(r"(?<!\d[ -])\d{4}[ -]\d{4}[ -]\d{4}(?![ -]\d)"), aadhaar.is_valid),
        Scheme(_written(r"\d{12}"), aadhaar.is_valid, _cue(r"a+dhaa?r|uid(?:ai)?(?![a-z])|आधार")),
        Scheme(_written(r"[A-Z]{3}P[A-Z]\d{4}[A-Z]"), pan.is_valid, long=False),
    ),
    "id-br": (
        Scheme(_written(r"\d{3}\.\d{3}\.\d{3}-\d{2}"), cpf.is_valid),
        Scheme(_written(r"\d{9}[ -]?\d{2}"), cpf.is_valid, _cue("cpf")),
    ),
    "id-mx": (Scheme(_written(r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z\d]\d"), curp.is_valid),),
    "id-ca": (
        Scheme(
            _written(r"\d{3}[ -]?\d{3}[ -]?\d{3}"), sin.is_valid, _cue(r"sin(?![a-z])|social insurance|nas(?![a-z])")
        ),
    ),
    "id-kr": (
        Scheme(_written(r"\d{6}-[0-9]\d{6}"), _is_korean),
        Scheme(_written(r"\d{13}"), _is_korean, _cue("주민|외국인등록|rrn|resident registration")),
    ),
    "id-tr": (Scheme(_written(r"\d{11}"), tckimlik.is_valid, _cue(r"t\.? ?c\.?(?![a-z])|kimlik")),),
    "id-th": (
        Scheme(_written(r"\d-\d{4}-\d{5}-\d{2}-\d"), pin.is_valid),
        Scheme(_written(r"\d{13}"), pin.is_valid, _cue(r"บัตร|ประชาชน|thai id|citizen id")),
    ),
    "id-za": (Scheme(_written(r"\d{6} ?\d{4} ?\d{3}"), za_idnr.is_valid, _cue(r"id(?![a-z])|identity")),),
}
"""By kind; a person may have a number of several. `validate` of python-stdnum names the source of each algorithm."""


def finder_of(kind: str) -> Callable[[Reading, bool], Iterator[tuple[int, int]]]:
    """What finds the numbers of one kind; `cautious` ones (the second argument) need no cue."""
    schemes = SCHEMES[kind]

    def find(reading: Reading, cautious: bool) -> Iterator[tuple[int, int]]:
        for scheme in schemes:
            if scheme.long and not reading.has_long_number:
                continue
            for found in scheme.pattern.finditer(reading.text):
                if scheme.cue is not None and not cautious and not reading.says(scheme.cue, *found.span()):
                    continue
                if scheme.is_real(found[0]):
                    yield found.span()

    return find
