"""What a kind of example reads from a row, and which columns hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.data.rows import quote
from pipelines.errors import UserError


@dataclass(frozen=True, slots=True)
class Field:
    """One part of an example."""

    role: str
    """Its key in `data.columns`."""
    what: str
    """What it is, in an error: `the words`."""
    columns: tuple[str, ...]
    """The names that its column goes by where the config names none; the first that is there is taken."""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """The fields of a kind of example, and the columns that the config names for them."""

    fields: Sequence[Field]
    named: Mapping[str, str]
    """`data.columns`: by role."""

    def choose(self, columns: Iterable[str], *, place: str) -> dict[str, str]:
        """For each role the name of its column; a role that may be left out is missing where its column is.

        Raises:
            UserError: a column that is needed, or that the config names, is not there.
        """
        there = list(columns)
        chosen = {}
        for field in self.fields:
            wanted = (self.named[field.role],) if field.role in self.named else field.columns
            column = next((name for name in wanted if name in there), None)
            if column is not None:
                chosen[field.role] = column
            elif not field.optional or field.role in self.named:
                names = ", ".join(quote(name) for name in there[:20]) or "none"
                raise UserError(
                    f"{place}: there is no column {_either(wanted)} for {field.what}; the columns are: {names}. "
                    f"Set data.columns.{field.role} to the right one."
                )
        return chosen

    def check(self) -> None:
        """Check that `data.columns` names roles that there are.

        Raises:
            UserError: names the role that there is not, and those that there are.
        """
        roles = [field.role for field in self.fields]
        for role in self.named:
            if role not in roles:
                raise UserError(
                    f"data.columns gives a column for {quote(role)}, which examples of this task do not have; they "
                    f"have: {', '.join(roles)}. Correct or remove it."
                )


def class_names(features: Mapping[str, object], column: str) -> list[str] | None:
    """The class names behind a column of whole numbers, from the features of `datasets` in their JSON form."""
    feature: object = features.get(column)
    while True:
        if isinstance(feature, list) and len(feature) == 1:  # how older versions write a list
            feature = feature[0]
        elif isinstance(feature, Mapping) and "feature" in feature:
            feature = feature["feature"]
        else:
            break
    if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        return [str(name) for name in feature["names"]]
    return None


def names_of(features: Mapping[str, object], chosen: Mapping[str, str]) -> dict[str, list[str]]:
    """The class names of each role whose column has them."""
    found = {role: class_names(features, column) for role, column in chosen.items()}
    return {role: names for role, names in found.items() if names is not None}


def named(value: object, names: Sequence[str] | None, *, what: str, place: str) -> object:
    """A class number as its name; anything else as it is.

    Raises:
        UserError: a number without a name.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if names is None:
        raise UserError(
            f"{place}: the {what} is the number {_digits(value)}, and nothing here says which class it stands for. "
            f"Write each {what} as text, or save the data with `datasets` and a ClassLabel feature, which holds the "
            "names."
        )
    if not 0 <= value < len(names):
        raise UserError(
            f"{place}: the {what} is the number {_digits(value)}, but the column names {len(names)} classes (0 to "
            f"{len(names) - 1}). Correct the row."
        )
    return names[value]


def _digits(number: int) -> str:
    return quote(number).strip("'")


def _either(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
