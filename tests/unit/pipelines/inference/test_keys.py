"""The file of keys, and the endpoint that reads it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.inference.credentials import SCOPES, WRONG, Caller, Refused, SingleKey, Unavailable, hash_key, who_is
from pipelines.inference.key_store import KeyStore
from pipelines.inference.keys import Key, add, expiry, id_of, public, read_keys, revoke, rotate, told
from pipelines.inference.rate import Rate

NOW = datetime(2026, 11, 27, 7, tzinfo=UTC)


def made(path: Path, **other: object) -> tuple[Key, str]:
    given: dict[str, object] = {"scopes": ["predict"], "expires": NOW + timedelta(days=90), "rate": None, "now": NOW}
    return add(path, "ada", **{**given, **other})  # type: ignore[arg-type]


class Clocks:
    def __init__(self) -> None:
        self.wall, self.ticks = NOW.timestamp(), 0.0


def store_of(path: Path, clocks: Clocks, rate: Rate | None = None) -> KeyStore:
    return KeyStore(path, rate, wall=lambda: clocks.wall, ticks=lambda: clocks.ticks)


def caller(store: KeyStore, text: str) -> Caller:
    return asyncio.run(store.caller(text))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "keys.json"


def test_the_file_holds_everything_but_the_key_and_is_its_owners(path: Path) -> None:
    key, text = made(path, scopes=["explain", "predict"], rate="100/min")
    assert re.fullmatch(rf"mtl_{key.id}_[\w-]{{43}}", text)
    assert id_of(text) == key.id
    assert json.loads(path.read_text()) == {
        "keys": [
            {
                "id": key.id,
                "name": "ada",
                "sha256": hash_key(text),
                "scopes": ["predict", "explain"],
                "created": "2026-11-27T07:00:00Z",
                "expires": "2027-02-25T07:00:00Z",
                "rate": "100/min",
            }
        ]
    }
    assert path.stat().st_mode & 0o777 == 0o600
    assert text.split("_", 2)[2] not in path.read_text()
    assert hash_key(text) not in f"{key!r} {public(key)} {told(key, NOW)}"
    assert told(key, NOW) == "predict, explain; 100/min; expires 2027-02-25 07:00 UTC"
    assert told(key, NOW + timedelta(days=90)).endswith("EXPIRED 2027-02-25 07:00 UTC")
    assert read_keys(path) == {key.id: key}


def test_no_two_keys_are_alike(path: Path) -> None:
    assert len({made(path)[1] for _ in range(5)}) == 5
    assert len(read_keys(path)) == 5


def test_revoked_and_rotated_keys_open_nothing_a_second_later(path: Path) -> None:
    clocks = Clocks()
    (first, old), (second, gone) = made(path), made(path, expires=None)
    store = store_of(path, clocks)
    assert caller(store, gone).who == f"key:{second.id}"
    revoke(path, second.id)
    new_key, new = rotate(path, first.id, expires=None, now=NOW)
    assert (new_key.id, new_key.name, new_key.scopes) == (first.id, "ada", ("predict",))
    # The file is looked at once a second, however many ask.
    assert caller(store, gone).who == f"key:{second.id}"
    clocks.ticks += 1
    for text in (gone, old):
        with pytest.raises(Refused, match="not known here"):
            caller(store, text)
    assert caller(store, new).who == f"key:{first.id}"


@pytest.mark.parametrize("change", ["{", '{"keys": 3}', None])
def test_a_file_that_breaks_opens_for_nobody_until_it_is_mended(
    path: Path, change: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clocks = Clocks()
    _, text = made(path)
    store, good = store_of(path, clocks), path.read_text()
    path.unlink() if change is None else path.write_text(change)
    clocks.ticks += 1
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with pytest.raises(Unavailable, match="its keys cannot be read"):
                caller(store, text)
            clocks.ticks += 1
    assert [record.getMessage()[:21] for record in caplog.records] == ["No key opens until th"]
    path.write_text(good)
    clocks.ticks += 1
    assert caller(store, text).scopes == {"predict"}


def test_only_who_has_the_secret_is_told_that_the_key_has_expired(path: Path) -> None:
    clocks = Clocks()
    key, text = made(path)
    store = store_of(path, clocks)
    clocks.wall = (NOW + timedelta(days=90)).timestamp() - 1
    assert caller(store, text)
    clocks.wall += 1
    with pytest.raises(Refused, match=f"The key {key.id} has expired"):
        caller(store, text)
    for wrong in (text[:-1], f"mtl_{key.id}_x", "mtl_000000000000_x", "mtl_"):
        with pytest.raises(Refused) as refused:
            caller(store, wrong)
        assert str(refused.value) == WRONG


def test_a_key_has_its_own_rate_or_that_of_all(path: Path) -> None:
    (_, own), (_, other) = made(path, rate="5/s"), made(path)
    store = store_of(path, Clocks(), Rate(100, 60))
    assert [caller(store, text).rate for text in (own, other)] == [Rate(5, 1), Rate(100, 60)]


def test_the_single_key_may_do_everything_and_is_asked_last(path: Path) -> None:
    key, text = made(path)
    single = SingleKey(hash_key("chosen"), None)
    ways = [store_of(path, Clocks()), single]
    assert asyncio.run(who_is(text, ways)).who == f"key:{key.id}"
    assert asyncio.run(who_is("chosen", ways)) == Caller("key", frozenset(SCOPES))
    for wrong in ("Chosen", "mtl_x", "\udcff"):
        with pytest.raises(Refused, match="not known here"):
            asyncio.run(who_is(wrong, ways))
    with pytest.raises(Refused, match="not known here"):
        asyncio.run(who_is("chosen", ways[:1]))


def test_hashes_are_compared_in_constant_time() -> None:
    """Nowhere but in `same_hash`, which hands on to the standard library."""
    root = Path(__file__).resolve().parents[4] / "pipelines" / "inference"
    sources = {path.name: path.read_text() for path in root.glob("*.py")}
    assert sources["credentials.py"].count("hmac.compare_digest(") == 1
    assert [name for name, text in sources.items() if re.search(r"sha256\)? *[!=]=|[!=]= *\S*sha256", text)] == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"scopes": ["predict", "write"]}, "There is no scope 'write': there are predict, explain, metrics, admin"),
        ({"scopes": []}, "The key's scopes should be one or more of predict, explain, metrics, admin"),
        ({"rate": "often"}, "The key's rate should be such as 100/min"),
    ],
)
def test_an_odd_key_is_refused_and_nothing_written(path: Path, other: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        made(path, **other)
    assert not path.exists()


@pytest.mark.parametrize("name", ["", "a\nb", "a" * 65])
def test_a_name_is_one_short_line(path: Path, name: str) -> None:
    with pytest.raises(UserError, match="The key's name should be 1 to 64 characters on one line"):
        add(path, name, scopes=["predict"], expires=None, rate=None, now=NOW)


def test_lifetimes() -> None:
    assert expiry("90d", NOW) == NOW + timedelta(days=90)
    assert expiry("12h", NOW) == NOW + timedelta(hours=12)
    assert expiry("2w", NOW) == NOW + timedelta(days=14)
    assert expiry("never", NOW) is None
    for wrong in ("", "90", "0d", "-1d", "1y", "999999d"):
        with pytest.raises(UserError, match="such as 90d, or never"):
            expiry(wrong, NOW)


def test_what_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read \\(No such file"):
        read_keys(path)
    made(path)
    for change in (lambda: revoke(path, "x"), lambda: rotate(path, "x", expires=None, now=NOW)):
        with pytest.raises(UserError, match="has no key 'x'"):
            change()
    assert len(read_keys(path)) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scopes": ["predict", "write"]}, "keys.0.scopes.1: Input should be 'predict', 'explain', 'metrics' or"),
        ({"sha256": "private"}, "keys.0.sha256"),
        ({"expires": "2027-02-25"}, "keys.0.expires"),
        ({"rate": "often"}, "keys.0.rate"),
        ({"expired": None}, "keys.0.expired: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_was_changed_to_something_odd_is_refused_by_place(
    path: Path, change: dict[str, object], said: str
) -> None:
    made(path)
    held = json.loads(path.read_text())
    held["keys"][0] |= change
    path.write_text(json.dumps(held))
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        read_keys(path)
    assert "private" not in str(refused.value)


def test_two_keys_of_one_id_are_refused(path: Path) -> None:
    made(path)
    held = json.loads(path.read_text())
    path.write_text(json.dumps({"keys": held["keys"] * 2}))
    with pytest.raises(UserError, match="two keys of one id"):
        read_keys(path)


def test_a_file_that_everybody_can_write_is_not_trusted(path: Path) -> None:
    made(path)
    path.chmod(0o666)
    with pytest.raises(UserError, match="Everybody on this machine can write"):
        read_keys(path)


def test_two_at_once_do_not_lose_each_others_changes(path: Path) -> None:
    made(path)
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="Another process changes the key file"):
        made(path)
    os.close(lock)
    made(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        made(tmp_path / "file" / "keys.json")


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["keys", "id", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=200) | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_whatever_a_key_file_holds_it_is_read_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile-keys.json"
    path.write_bytes(raw)
    try:
        read_keys(path)
    except UserError as error:
        said = str(error)
    else:
        said = "cannot be used"
    assert "cannot be used" in said
