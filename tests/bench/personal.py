"""Labelled texts with personal data, and with what only looks like it, drawn with a seed.

The values come from Faker's providers, which know nothing of Motley's finders, and where Faker makes up what is not
given out (telephone numbers, and the numbers of some countries) from the plans and rules named below.
A seed gives the same values but for dates of birth, which Faker counts from now.
"""

# ruff: noqa: RUF001
from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from faker import Faker


@dataclass(frozen=True, slots=True)
class Example:
    text: str
    what: str
    """The row of the table."""
    kind: str | None
    """Nothing, if the value is nobody's."""
    cued: bool
    """Whether words say what the value is."""
    start: int
    end: int
    """Where the value stands."""


# Words round a value that say nothing of it.
PLAIN = (
    "{}",
    "Please use {} from now on, the old one is gone.",
    "I have {} here, is that right?",
    "客户说改成{}了，请更新一下。",
    "记录如下：{}，谢谢！",
    "请以{}为准",
    "Bitte {} eintragen, danke.",
    "Es {} y nada más.",
    "C'est {}, merci.",
    "Запишите {}, спасибо.",
    "{}に変更してください。",
    "{}으로 바꿔 주세요.",
    "anna;{};2024",
    '{{"value": "{}", "ok": true}}',
    '{{"text": "\\u503c\\n{}\\n"}}',
    "<b>{}</b>",
)
CUES = {
    "email": ("Mail me at {}.", "邮箱是{}，", "E-Mail: {}", "mailto:{}", "Correo: {}"),
    "phone": ("Call me at {}.", "我的手机号是{}。", "Tel.: {}", "电话：{}", "Mi teléfono es {}.", "Téléphone {}"),
    "card": ("My card {} was charged twice.", "信用卡号{}，", "Kreditkarte {}", "Card number: {} exp 12/27"),
    "iban": ("IBAN {}", "Überweisen Sie auf {} bis Freitag.", "Pay to {} please", "收款账号{}。"),
    "ip": ("from {} port 8080", "IP {} was blocked", "客户端{}，", "http://{}/index.html"),
    "id-cn": ("身份证号{}，", "我的身份证是{}。", "ID card {}"),
    "id-us": ("My SSN is {}.", "social security number: {}"),
    "id-gb": ("My NI number is {}.", "National Insurance: {}"),
    "id-es": ("Mi DNI es {}.", "NIF/NIE: {}"),
    "id-nl": ("Mijn BSN is {}.", "burgerservicenummer {}"),
    "id-pl": ("Mój PESEL to {}.", "PESEL: {}"),
    "id-fi": ("Henkilötunnus {}.", "HETU: {}"),
    "id-se": ("Mitt personnummer är {}.", "personnr {}"),
    "id-no": ("Fødselsnummer: {}", "Mitt fødselsnummer er {}."),
    "id-dk": ("Mit CPR-nummer er {}.", "CPR: {}"),
    "id-fr": ("Numéro de sécurité sociale : {}", "NIR {}"),
    "id-it": ("Il mio codice fiscale è {}.", "C.F. {}"),
    "id-de": ("Meine Steuer-ID ist {}.", "Steueridentifikationsnummer (IdNr) {}"),
    "id-be": ("Rijksregisternummer {}", "Mon numéro national est {}."),
    "id-in": ("My Aadhaar is {}.", "Aadhaar: {}"),
    "id-br": ("Meu CPF é {}.", "CPF: {}"),
    "id-mx": ("Mi CURP es {}.", "CURP: {}"),
    "id-ca": ("My SIN is {}.", "social insurance number {}"),
    "id-kr": ("주민등록번호는 {}입니다.", "RRN {}"),
    "id-tr": ("T.C. kimlik no: {}", "Kimlik numaram {}"),
    "id-th": ("เลขประจำตัวประชาชน {}", "บัตรประชาชน {}"),
    "id-za": ("My ID number is {}.", "identity number {}"),
}

# Numbers in use. China: prefixes of the three carriers; landlines with area codes. North America: area codes of NANPA.
CHINA = (
    "130 131 132 133 134 135 136 137 138 139 147 150 151 152 153 155 156 157 158 159 166 173 175 176 177 178 180 181 "
)
CHINA += "182 183 184 185 186 187 188 189 191 193 195 196 197 198 199"
CHINA_AREAS = ("010-6", "021-5", "020-8", "0755-8", "0571-8", "028-8", "(010) 8", "024-2")
AMERICA = "202 212 213 301 303 305 310 312 404 415 469 503 512 602 617 646 702 713 718 808 917 929"
# Of every country how a mobile or a landline goes on behind its code, and how its people write it; # is any digit.
ABROAD = [
    (code, rest)
    for code, rests in {
        "44": ("7911 ######", "20 7946 0###"),
        "49": ("171 #######", "30 2#######"),
        "33": ("6 ## ## ## ##", "1 42 ## ## ##"),
        "34": ("612 ### ###",),
        "39": ("347 #######",),
        "31": ("6 12######",),
        "48": ("512 ### ###",),
        "46": ("70 ### ## ##",),
        "47": ("912 ## ###",),
        "358": ("40 #######",),
        "91": ("98### #####",),
        "81": ("90-1###-####",),
        "82": ("10-2###-####",),
        "55": ("11 9####-####",),
        "52": ("55 1### ####",),
        "61": ("412 ### ###",),
        "65": ("9### ####",),
        "852": ("9### ####",),
        "886": ("912 ### ###",),
        "7": ("916 ###-##-##",),
        "380": ("67 ### ## ##",),
        "90": ("532 ### ## ##",),
        "27": ("82 ### ####",),
        "234": ("803 ### ####",),
        "20": ("100 ### ####",),
        "966": ("50 ### ####",),
        "971": ("50 ### ####",),
    }.items()
    for rest in rests
]
TRUNKLESS = {"34", "39", "48", "47", "65", "852", "52"}


class Drawer:
    """Draws values of every row of the table, and words round them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._fakers: dict[str, Faker] = {}

    def fake(self, locale: str) -> Faker:
        if locale not in self._fakers:
            self._fakers[locale] = Faker(locale)
            self._fakers[locale].seed_instance(self.random.randrange(2**32))
        return self._fakers[locale]

    def filled(self, pattern: str) -> str:
        return "".join(str(self.random.randrange(10)) if sign == "#" else sign for sign in pattern)

    def digits(self, fewest: int, most: int) -> str:
        return str(self.random.randrange(1, 10)) + self.filled("#" * (self.random.randint(fewest, most) - 1))

    def example(self, what: str, kind: str | None, value: str, *, cued: bool) -> Example:
        assert kind is not None or not cued
        frames = CUES[kind] if cued and kind is not None else PLAIN
        before, after = self.random.choice(frames).replace("{{", "\0").replace("}}", "\1").split("{}")
        before, after = (part.replace("\0", "{").replace("\1", "}") for part in (before, after))
        return Example(before + value + after, what, kind, cued, len(before), len(before) + len(value))

    def email(self) -> str:
        fake = self.fake(self.random.choice(("en_US", "zh_CN", "de_DE", "es_ES", "pl_PL", "ja_JP")))
        name, host = fake.email().split("@")
        extra = self.random.choice(("", "", "", "+shop", "-x", ".work", "_99"))
        return f"{name}{extra}@{self.random.choice((host, host, 'mail.' + host, 'firma.de', '163.com', 'x.co.uk'))}"

    def foreign_email(self) -> str:
        return self.random.choice(("用户", "müller", "иван", "josé.pérez", "δοκιμή")) + self.random.choice(
            ("@例子.广告", "@bücher.example", "@почта.рф", "@ejemplo.es", "@xn--fsq.com")
        )

    def mobile_of_china(self) -> str:
        first, middle, last = self.random.choice(CHINA.split()), self.filled("####"), self.filled("####")
        between = self.random.choice(("", "", "", " ", "-"))
        return first + between + middle + between + last

    def abroad(self) -> str:
        code, rest = self.random.choice(ABROAD)
        rest = self.filled(rest)
        return self.random.choice(
            (f"+{code} {rest}", f"+{code}{rest.replace(' ', '').replace('-', '')}", f"00{code} {rest}")
        )

    def at_home(self) -> str:
        code, rest = self.random.choice(ABROAD)
        return ("" if code in TRUNKLESS else "8 " if code == "7" else "0") + self.filled(rest)

    def american(self) -> str:
        area, exchange, line = (
            self.random.choice(AMERICA.split()),
            str(self.random.randrange(2, 10)),
            self.filled("####"),
        )
        exchange += self.filled("#") + str(self.random.randrange(2, 10))
        form = self.random.choice(
            ("({}) {}-{}", "{}-{}-{}", "{}.{}.{}", "+1 {} {} {}", "1-{}-{}-{}", "{} {} {}", "{}{}{}")
        )
        return form.format(area, exchange, line)

    def card(self) -> str:
        number = self.fake("en_US").credit_card_number(
            self.random.choice(("visa16", "mastercard", "amex", "discover", "diners"))
        )
        if self.random.random() < 0.25:
            number = luhn("62" + self.filled("#" * self.random.choice((13, 16, 16))))
        between = self.random.choice(("", "", " ", "-"))
        return between.join(number[i : i + 4] for i in range(0, len(number), 4))

    def iban(self) -> str:
        locale = self.random.choice(
            ("en_GB", "de_DE", "es_ES", "fr_FR", "it_IT", "nl_NL", "pl_PL", "pt_PT", "de_AT", "de_CH")
        )
        number = self.fake(locale).iban()
        form = self.random.randrange(4)
        return (
            number.lower()
            if form == 0
            else " ".join(number[i : i + 4] for i in range(0, len(number), 4))
            if form < 3
            else number
        )

    def ninos(self) -> str:
        while (pair := self.random.choice("ABCEGHJKLMNOPRSTWXYZ") + self.random.choice("ABCEGHJKLMNPRSTWXYZ")) in (
            "BG", "GB", "KN", "NK", "NT", "TN", "ZZ",
        ):  # fmt: skip
            pass
        last = self.random.choice("ABCD")
        return self.random.choice((self.filled(f"{pair} ## ## ## {last}"), self.filled(f"{pair}######{last}")))

    def born(self, form: str) -> str:
        return self.fake("en_US").date_of_birth(minimum_age=18, maximum_age=90).strftime(form)


def luhn(number: str) -> str:
    """With its check digit (ISO/IEC 7812-1, annex B)."""
    doubled = [2 * int(digit) if i % 2 == 0 else int(digit) for i, digit in enumerate(reversed(number))]
    return number + str(-sum(value // 10 + value % 10 for value in doubled) % 10)


def german(drawer: Drawer) -> str:
    """A tax number (Identifikationsnummer): one digit twice, ISO 7064 mod 11,10."""
    first = drawer.random.sample("0123456789", 9)
    first.insert(drawer.random.randrange(1, 10), drawer.random.choice(first))
    if first[0] == "0" or any(first[i] == first[i + 1] == first[i + 2] for i in range(8)):
        return german(drawer)
    rest = 10
    for digit in first:
        total = (int(digit) + rest) % 10 or 10
        rest = 2 * total % 11
    number = "".join(first) + str((11 - rest) % 10)
    return drawer.random.choice((number, f"{number[:2]} {number[2:5]} {number[5:8]} {number[8:]}"))


def danish(drawer: Drawer) -> str:
    """Day of birth, and a number whose first digit says the century; there is no check digit since 2007."""
    born = drawer.fake("en_US").date_of_birth(minimum_age=18, maximum_age=90)
    return f"{born:%d%m%y}-{drawer.random.randrange(4) if born.year < 2000 else 4}{drawer.filled('###')}"


def korean(drawer: Drawer) -> str:
    """Day of birth, sex and century; what is behind them is drawn since 2020."""
    born = drawer.fake("en_US").date_of_birth(minimum_age=18, maximum_age=90)
    return f"{born:%y%m%d}-{drawer.random.randrange(2) + (1 if born.year < 2000 else 3)}{drawer.filled('######')}"


def indian(drawer: Drawer) -> str:
    """Eleven digits and Verhoeff's: the one with which permuted digits, multiplied in the dihedral group, give 0."""
    number = str(drawer.random.randrange(2, 10)) + drawer.filled("#" * 10)
    permuted = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    while len(permuted) < 8:
        permuted.append([permuted[-1][i] for i in permuted[1]])

    def product(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 if b < 5 else (a + b) % 5 + 5
        return (a - b) % 5 + 5 if b < 5 else (a - b) % 5

    for last in "0123456789":
        total = 0
        for i, digit in enumerate(reversed(number + last)):
            total = product(total, permuted[i % 8][int(digit)])
        if total == 0:
            number += last
            break
    return drawer.random.choice((number, f"{number[:4]} {number[4:8]} {number[8:]}"))


def _ssn(locale: str) -> Callable[[Drawer], str]:
    return lambda drawer: str(drawer.fake(locale).ssn())


def full_width(text: str) -> str:
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)


Row = tuple[str, Callable[[Drawer], str]]
PERSONAL: dict[str, Row] = {
    "mail address": ("email", Drawer.email),
    "mail address, other scripts": ("email", Drawer.foreign_email),
    "phone, China, mobile": ("phone", Drawer.mobile_of_china),
    "phone, China, mobile, full-width": ("phone", lambda drawer: full_width(drawer.mobile_of_china())),
    "phone, China, landline": ("phone", lambda drawer: drawer.random.choice(CHINA_AREAS) + drawer.filled("#######")),
    "phone, United States": ("phone", Drawer.american),
    "phone, 27 countries, with + or 00": ("phone", Drawer.abroad),
    "phone, 27 countries, as at home": ("phone", Drawer.at_home),
    "card": ("card", Drawer.card),
    "IBAN": ("iban", Drawer.iban),
    "IPv4": ("ip", lambda drawer: drawer.fake("en_US").ipv4_public()),
    "IPv6": ("ip", lambda drawer: drawer.fake("en_US").ipv6()),
    "China, resident identity": ("id-cn", _ssn("zh_CN")),
    "United States, SSN": ("id-us", _ssn("en_US")),
    "Britain, NINO": ("id-gb", Drawer.ninos),
    "Spain, DNI": ("id-es", lambda drawer: drawer.fake("es_ES").nif()),
    "Spain, NIE": ("id-es", lambda drawer: drawer.fake("es_ES").nie()),
    "Netherlands, BSN": ("id-nl", _ssn("nl_NL")),
    "Poland, PESEL": ("id-pl", _ssn("pl_PL")),
    "Finland, HETU": ("id-fi", _ssn("fi_FI")),
    "Sweden, personnummer": ("id-se", _ssn("sv_SE")),
    "Norway, fødselsnummer": ("id-no", _ssn("no_NO")),
    "Denmark, CPR": ("id-dk", danish),
    "France, NIR": ("id-fr", _ssn("fr_FR")),
    "Italy, codice fiscale": ("id-it", _ssn("it_IT")),
    "Germany, tax number": ("id-de", german),
    "Belgium, national number": ("id-be", _ssn("nl_BE")),
    "India, Aadhaar": ("id-in", indian),
    "Brazil, CPF": ("id-br", lambda drawer: drawer.fake("pt_BR").cpf()),
    "Mexico, CURP": ("id-mx", lambda drawer: drawer.fake("es_MX").curp()),
    "Canada, SIN": ("id-ca", _ssn("en_CA")),
    "Korea, RRN": ("id-kr", korean),
    "Turkey, T.C. kimlik": ("id-tr", _ssn("tr_TR")),
    "Thailand, citizen number": ("id-th", _ssn("th_TH")),
    "South Africa, ID": ("id-za", lambda drawer: luhn(drawer.born("%y%m%d") + drawer.filled("####") + "08")),
}


def _wrong(right: Callable[[Drawer], str]) -> Callable[[Drawer], str]:
    """The value with its last digit changed."""

    def draw(drawer: Drawer) -> str:
        value = right(drawer)
        place = max(i for i, sign in enumerate(value) if sign.isdigit())
        return value[:place] + str((int(value[place]) + drawer.random.randrange(1, 10)) % 10) + value[place + 1 :]

    return draw


NOBODYS: dict[str, Callable[[Drawer], str]] = {
    "number of 8 digits": lambda drawer: drawer.digits(8, 8),
    "number of 9 digits": lambda drawer: drawer.digits(9, 9),
    "number of 10 digits": lambda drawer: drawer.digits(10, 10),
    "number of 11 digits": lambda drawer: drawer.digits(11, 11),
    "number of 12 to 15 digits": lambda drawer: drawer.digits(12, 15),
    "number of 16 to 20 digits": lambda drawer: drawer.digits(16, 20),
    "order or parcel (`SF1234567890123`, `PO-2024-00017`)": lambda drawer: drawer.filled(
        drawer.random.choice(("SF#############", "PO-2024-#####", "INV####-###", "1Z999AA1##########", "JD##########"))
    ),
    "date, time": lambda drawer: (
        drawer.fake("en_US")
        .date_time()
        .strftime(
            drawer.random.choice(
                ("%Y-%m-%d %H:%M:%S", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d", "%Y年%m月%d日", "%Y-%m-%dT%H:%M:%SZ")
            )
        )
    ),
    "seconds or milliseconds since 1970": lambda drawer: drawer.filled(
        drawer.random.choice(("17########", "17###########"))
    ),
    "version": lambda drawer: drawer.filled(
        drawer.random.choice(("v#.#.#", "#.##.#", "version #.#.#.#", "v1#.#.#.###-rc#"))
    ),
    "price, amount": lambda drawer: drawer.filled(
        drawer.random.choice(("$1,###,###.##", "€ 1.###.###,##", "¥1######.##", "1## ### ### kr", "1###########.##"))
    ),
    "coordinates, decimals": lambda drawer: drawer.filled(
        drawer.random.choice(("39.####, 116.####", "3.14159#######", "-33.######, 151.######", "1e-0#", "0.#########"))
    ),
    "card, wrong check digit": _wrong(Drawer.card),
    "IBAN, wrong check digit": _wrong(Drawer.iban),
    "Chinese identity, wrong check digit": _wrong(_ssn("zh_CN")),
    "ISBN": lambda drawer: drawer.random.choice((drawer.fake("en_US").isbn13(), drawer.fake("en_US").isbn10())),
    "UUID": lambda drawer: str(uuid.UUID(int=drawer.random.getrandbits(128), version=4)),
    "hash": lambda drawer: f"{drawer.random.getrandbits(160):040x}"[: drawer.random.choice((8, 12, 32, 40))],
    "MAC address": lambda drawer: drawer.fake("en_US").mac_address(),
    "@ that is no address": lambda drawer: drawer.random.choice(
        ("@jane_doe", "@media", "a @ b", "user@localhost", "3 @ 5.99")
    ),
    "this machine, no address (`127.0.0.1`, `::1`)": lambda drawer: drawer.random.choice(
        ("127.0.0.1", "::1", "0.0.0.0", "255.255.255.0", "std::abs", "x[1::2]", "12:30:45")
    ),
}


def examples(seed: int, each: int) -> list[Example]:
    """`each` of every row: half of the personal ones with words that say what they are, half without."""
    drawer = Drawer(seed)
    found = [
        drawer.example(what, kind, draw(drawer), cued=i % 2 == 0)
        for what, (kind, draw) in PERSONAL.items()
        for i in range(each)
    ]
    return found + [
        drawer.example(what, None, draw(drawer), cued=False) for what, draw in NOBODYS.items() for _ in range(each)
    ]
