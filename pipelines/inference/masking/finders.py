"""Finders of personal data by kind. A new one is a file beside this one, and one line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from phonenumbers import SUPPORTED_REGIONS

from pipelines.errors import UserError
from pipelines.inference.entities import Entity
from pipelines.inference.masking.accounts import find_accounts
from pipelines.inference.masking.cards import find_cards
from pipelines.inference.masking.emails import find_emails
from pipelines.inference.masking.finding import KIND, Finding, merge
from pipelines.inference.masking.hosts import find_hosts
from pipelines.inference.masking.names import PERSONAL, find_names
from pipelines.inference.masking.national import SCHEMES, finder_of
from pipelines.inference.masking.phones import find_phones
from pipelines.inference.masking.reading import Reading, read


@dataclass(frozen=True, slots=True)
class Rules:
    """What is looked for.

    Raises:
        UserError: a kind, a region or a name of a kind that is none.
    """

    kinds: tuple[str, ...] | None = None
    """All, when left out."""
    regions: tuple[str, ...] = ("CN", "US")
    """Countries (ISO 3166, two letters) whose people write telephone numbers without `+`; others need it."""
    cautious: bool = False
    """Mask numbers, too, that only words beside them would tell from the number of an order. For logs."""
    entity_types: Mapping[str, str] = field(default_factory=lambda: PERSONAL)
    """Types of a model's entities that are personal, each with the kind that it is."""
    wanted: tuple[str, ...] = field(init=False)
    """The kinds looked for; the more specific ones first."""

    def __post_init__(self) -> None:
        for kind in self.entity_types.values():
            if not KIND.fullmatch(kind):
                raise UserError(f"A kind of personal data is written like `name` or `id-cn`, not {kind!r}.")
        known = (*FINDERS, *sorted(set(self.entity_types.values()) - set(FINDERS)))
        if unknown := [kind for kind in self.kinds or () if kind not in known]:
            raise UserError(f"No kind of personal data is called {unknown[0]!r}; known: {', '.join(known)}.")
        if strange := [region for region in self.regions if region not in SUPPORTED_REGIONS]:
            raise UserError(f"{strange[0]!r} is no region: two capital letters of ISO 3166 are needed, such as CN.")
        wanted = known if self.kinds is None else tuple(kind for kind in known if kind in self.kinds)
        object.__setattr__(self, "wanted", wanted)

    def only(self, kinds: Iterable[str]) -> Rules:
        """The same for fewer kinds.

        Raises:
            UserError: a kind that is not looked for.
        """
        chosen = tuple(kinds)
        if not set(chosen) <= set(self.wanted):
            # Whoever asks by mistake for a text as a kind shall not find it in an error.
            raise UserError(f"A kind that is not masked here is asked for; kinds: {', '.join(self.wanted)}.")
        return replace(self, kinds=chosen)


Finder = Callable[[Reading, Rules], Iterable[tuple[int, int]]]
"""Gives places in `Reading.text`; they may overlap."""


def _national(kind: str) -> Finder:
    find_numbers = finder_of(kind)
    return lambda reading, rules: find_numbers(reading, rules.cautious)


FINDERS: dict[str, Finder] = {
    "email": lambda reading, _: find_emails(reading),
    "iban": lambda reading, _: find_accounts(reading),
    **{kind: _national(kind) for kind in SCHEMES},
    "card": lambda reading, _: find_cards(reading),
    "ip": lambda reading, _: find_hosts(reading),
    "phone": lambda reading, rules: find_phones(reading, rules.regions, cautious=rules.cautious),
}
"""The more specific ones first: where two take the same place for theirs, the first one's kind is said."""

# What is in personal data of each kind, escaped or not: an @, colons, or four digits. Most lines of a log have none.
_ANY = re.compile(r"[@\uff20\ufe6b]|%40|:[0-9a-fA-F]*:|\\uff[12]|\d(?:[^\w\n]{0,3}\w?[^\w\n]{0,3}\d){3}", re.IGNORECASE)


def find(text: str, rules: Rules, entities: Iterable[Entity] = ()) -> list[Finding]:
    """Personal data in a text, in its order and without overlaps; where two finders overlap, all of it.

    Args:
        entities: what a model found in this very text.
    """
    found = list(find_names(entities, rules.entity_types, rules.wanted))
    if _ANY.search(text):
        found += _by_pattern(text, rules)
    if not found:
        return []
    return merge(found, {kind: i for i, kind in enumerate(rules.wanted)})


def _by_pattern(text: str, rules: Rules) -> list[Finding]:
    reading = read(text)
    found: list[Finding] = []
    while True:
        spans = [(kind, *span) for kind in rules.wanted if kind in FINDERS for span in FINDERS[kind](reading, rules)]
        if not spans:
            return found
        found += [Finding(kind, *reading.raw(start, end)) for kind, start, end in spans]
        # What stood beside a number may have hidden another one.
        reading = reading.without((start, end) for _, start, end in spans)
