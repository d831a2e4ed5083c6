"""The file of the endpoint's keys: who has one, what for and how long. It holds no key, only hashes.

A key is `mtl_ID_SECRET`. It is looked up by its id, so that one hash is compared and not all of them.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, ValidationError

from pipelines.errors import UserError
from pipelines.inference.credentials import SCOPES, Right, hash_key
from pipelines.inference.rate import Rate
from pipelines.report.summary import write_whole
from pipelines.section import Section

PREFIX = "mtl"
"""By it scanners for leaked secrets know a key, and the endpoint tells one from a token."""
SECRET_BYTES = 32
LIFETIMES = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

MEANT = {
    "name": "1 to 64 characters on one line",
    "scopes": f"one or more of {', '.join(SCOPES)}",
    "rate": "such as 100/min (or /s, /h, /day)",
}


def _rate(text: str) -> str:
    Rate.parse(text)
    return text


class Key(Section):
    """What is kept of a key."""

    # Of a file that cannot be read, nothing is repeated.
    model_config = ConfigDict(hide_input_in_errors=True)

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    name: str = Field(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    """Of the whole key (`hash_key` says why so plain a hash does)."""
    scopes: tuple[Right, ...] = Field(min_length=1)
    created: AwareDatetime
    expires: AwareDatetime | None
    rate: Annotated[str, AfterValidator(_rate)] | None = None

    def is_expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now


class KeyFile(Section):
    model_config = ConfigDict(hide_input_in_errors=True)

    keys: tuple[Key, ...] = ()


def id_of(text: str) -> str | None:
    """The id in a key; None for what is no key of this kind."""
    found = re.fullmatch(rf"{PREFIX}_([0-9a-f]{{12}})_[A-Za-z0-9_-]{{1,100}}", text)
    return found[1] if found else None


def read_keys(path: Path) -> dict[str, Key]:
    """All keys by their ids.

    Raises:
        UserError: the file is not there, not to be trusted, or no key file.
    """
    try:
        mode, raw = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise UserError(
            f"The key file {path} cannot be read ({error.strerror}). Make one with `python -m jobs.keys add NAME "
            "--file FILE`, or correct serve.keys."
        ) from None
    if mode & stat.S_IWOTH:
        raise UserError(f"Everybody on this machine can write the key file {path}: take that right away (chmod 600).")
    try:
        keys = KeyFile.model_validate_json(raw).keys
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the whole file"
        raise UserError(
            f"The key file {path} cannot be used: {where}: {first['msg']}. Correct it, or restore it from a copy."
        ) from None
    found = {key.id: key for key in keys}
    if len(found) < len(keys):
        raise UserError(f"The key file {path} has two keys of one id. Remove one of them.")
    return found


def add(
    path: Path, name: str, *, scopes: Sequence[str], expires: datetime | None, rate: str | None, now: datetime
) -> tuple[Key, str]:
    """Make a key, in a new file if need be: what is kept of it, and its text, which is kept nowhere.

    Raises:
        UserError: an unknown scope, an odd name or rate, or the file cannot be read or written.
    """
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise UserError(f"There is no scope {unknown[0]!r}: there are {', '.join(SCOPES)}.")
    with _changing(path) as keys:
        id = secrets.token_hex(6)
        text = _text(id)
        kept = [scope for scope in SCOPES if scope in scopes]
        given = {"id": id, "name": name, "sha256": hash_key(text), "scopes": kept, "expires": expires, "rate": rate}
        try:
            keys[id] = Key.model_validate({**given, "created": now})
        except ValidationError as error:
            where = str(error.errors()[0]["loc"][0])
            raise UserError(f"The key's {where} should be {MEANT[where]}.") from None
    return keys[id], text


def revoke(path: Path, id: str) -> Key:
    """Take a key out of the file; it opens nothing from then on.

    Raises:
        UserError: there is no such key, or the file cannot be read or written.
    """
    with _changing(path) as keys:
        return keys.pop(_known(path, keys, id))


def rotate(path: Path, id: str, *, expires: datetime | None, now: datetime) -> tuple[Key, str]:
    """Give a key a new secret, and the old one no longer opens; id, name, scopes and rate stay.

    Raises:
        UserError: there is no such key, or the file cannot be read or written.
    """
    with _changing(path) as keys:
        text = _text(_known(path, keys, id))
        keys[id] = keys[id].model_copy(update={"sha256": hash_key(text), "created": now, "expires": expires})
    return keys[id], text


def expiry(text: str, now: datetime) -> datetime | None:
    """The time that `90d`, `12h`, `2w` or `never` means.

    Raises:
        UserError: it means none.
    """
    if text == "never":
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", text)
    if found is None:
        raise UserError(f"A key does not expire in {text!r}: write a number with h, d or w, such as 90d, or never.")
    return (now + int(found[1]) * LIFETIMES[found[2]]).replace(microsecond=0)


def now() -> datetime:
    """To the second: the file is for people to read, too."""
    return datetime.now(UTC).replace(microsecond=0)


def public(key: Key) -> dict[str, object]:
    """What may be shown of it, as JSON has it."""
    return key.model_dump(mode="json", exclude={"sha256"})


def told(key: Key, now: datetime) -> str:
    """The same for people: `predict, explain; 100/min; expires 2027-02-25 07:00 UTC`."""
    end = "never expires"
    if key.expires is not None:
        end = f"{'EXPIRED' if key.is_expired(now) else 'expires'} {key.expires:%Y-%m-%d %H:%M} UTC"
    return "; ".join([", ".join(key.scopes), *([key.rate] if key.rate else []), end])


def _text(id: str) -> str:
    return f"{PREFIX}_{id}_{secrets.token_urlsafe(SECRET_BYTES)}"


def _known(path: Path, keys: dict[str, Key], id: str) -> str:
    if id not in keys:
        raise UserError(f"The key file {path} has no key {id!r}: `python -m jobs.keys list` names those that it has.")
    return id


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, Key]]:
    """The keys, written back at the end of the `with`. Nobody else changes them meanwhile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(
            f"The key file {path} cannot be written ({error.strerror}). Choose another folder with --file."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        keys = read_keys(path) if path.exists() else {}
        yield keys
        file = KeyFile(keys=tuple(keys.values()))
        write_whole(path, json.dumps(file.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", mode=0o600)
    except BlockingIOError:
        raise UserError(f"Another process changes the key file {path} just now: repeat the command.") from None
    except OSError as error:
        raise UserError(
            f"The key file {path} cannot be written ({error.strerror}). Choose another with --file."
        ) from None
    finally:
        os.close(lock)
