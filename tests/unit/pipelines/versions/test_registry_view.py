"""Aliases and tags in a real MLflow store; a model's files are not needed for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from pipelines.errors import UserError
from pipelines.inference.registry import ModelRef
from pipelines.serve_settings import TrialConfig
from pipelines.versions.registry_view import RegistryView
from pipelines.versions.show import listed, rows_of
from pipelines.versions.wanted import GATE, REFUSED, SHOWN, TRY, Challenger, Wanted

pytestmark = pytest.mark.timeout(120)

_NUMBERS = count()
Make = Callable[..., RegistryView]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    MlflowClient(uri).create_registered_model("another")
    return uri


@pytest.fixture
def client(store: str) -> MlflowClient:
    return MlflowClient(store)


@pytest.fixture
def make(store: str, client: MlflowClient, tmp_path: Path) -> Make:
    """A model of its own with four versions, the first of them the champion."""

    def made(**gate: Any) -> RegistryView:
        name = f"m{next(_NUMBERS)}"
        client.create_registered_model(name)
        for n in range(1, 5):
            client.create_model_version(name, tmp_path.as_uri(), tags={"score": f"0.{n}"})
        client.set_registered_model_alias(name, "champion", "1")
        return RegistryView(name, "champion", store, TrialConfig(**gate))

    return made


def aliases(client: MlflowClient, view: RegistryView) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(view.name).aliases.items()}


def tags(client: MlflowClient, view: RegistryView, version: int) -> dict[str, str]:
    return dict(client.get_model_version(view.name, str(version)).tags)


def test_a_version_is_tried_promoted_and_rolled_back(make: Make, client: MlflowClient) -> None:
    view = make()
    one, two = (ModelRef(view.name, str(n), f"models:/{view.name}/{n}") for n in (1, 2))
    assert view.read() == Wanted(one)
    view.try_version("2", share=0.1)
    assert view.read() == Wanted(one, Challenger(two, 0.1, TrialConfig()))
    assert view.promote() == "2"
    assert view.read() == Wanted(two, previous=one)
    assert aliases(client, view) == {"champion": "2", "previous": "1"}
    assert view.roll_back("it was worse") == "1"
    assert view.read(served="2") == Wanted(one, refused={"2": "it was worse"})
    # Twice would bring back what was bad.
    with pytest.raises(UserError, match=r"no previous version to go back to: promote one .*--version N"):
        view.roll_back("again")
    view.try_version("2", share=None)
    assert view.read() == Wanted(one, Challenger(two, None, TrialConfig()))
    assert view.give_up("enough") == "2"
    assert tags(client, view, 2)[REFUSED] == "enough"
    with pytest.raises(UserError, match="no challenger to drop: there is champion"):
        view.give_up("again")


def test_all_writes_may_be_repeated(make: Make, client: MlflowClient) -> None:
    view = make()
    view.try_version("2", share=None)
    for _ in range(2):
        view.promote("2", only_challenger=True)
        assert aliases(client, view) == {"champion": "2", "previous": "1"}
    for _ in range(2):
        assert view.roll_back("bad", version="2", to="1") == "1"
        assert aliases(client, view) == {"champion": "1"}
    view.try_version("3", share=None)
    for _ in range(2):
        view.refuse("3", "bad")
        assert aliases(client, view) == {"champion": "1"}
    for _ in range(2):
        view.remember("2")
        view.remember("1")
        assert aliases(client, view) == {"champion": "1", "previous": "2"}


def test_an_order_given_meanwhile_wins(make: Make, client: MlflowClient) -> None:
    view = make()
    view.try_version("2", share=None)
    # The endpoint found 2 good, but a person tries 3 by now.
    view.try_version("3", share=None)
    view.promote("2", only_challenger=True)
    assert aliases(client, view) == {"champion": "1", "challenger": "3"}
    # The endpoint found 1 bad, but a person has promoted 4 by now.
    view.promote("4")
    assert view.roll_back("bad", version="1", to="2") == "4"
    assert aliases(client, view) == {"champion": "4", "challenger": "3", "previous": "1"}
    # And refusing what is no candidate any more leaves the new one alone.
    view.refuse("2", "bad")
    assert aliases(client, view)["challenger"] == "3"


def test_half_a_promotion_can_be_served_and_is_ended_by_the_next(make: Make, client: MlflowClient) -> None:
    view = make()
    view.try_version("2", share=None)
    client.set_registered_model_alias(view.name, "previous", "1")
    client.set_registered_model_alias(view.name, "champion", "2")
    assert view.read().challenger is None
    view.promote("2", only_challenger=True)
    assert aliases(client, view) == {"champion": "2", "previous": "1"}


def test_a_champion_that_nobody_took_is_nothing_to_go_back_to(make: Make, client: MlflowClient) -> None:
    view = make()
    client.set_registered_model_alias(view.name, "champion", "2")
    view.remember("1")
    view.refuse("2", "it cannot be loaded")
    assert view.read().refused == {"2": "it cannot be loaded"}
    view.promote("3")
    assert aliases(client, view) == {"champion": "3", "previous": "1"}
    # A person who promotes it all the same is obeyed.
    view.promote("2")
    assert view.read().refused == {}


def test_a_candidate_brings_what_was_set_of_its_trial_and_no_more(make: Make, client: MlflowClient) -> None:
    view = make(min_requests=7, promote="hand")
    view.try_version("2", share=None)
    assert json.loads(tags(client, view, 2)[GATE]) == {"min_requests": 7, "promote": "hand"}
    endpoint = RegistryView(view.name, "champion", view.tracking_uri, TrialConfig(min_seconds=3))
    found = endpoint.read().challenger
    assert found is not None
    assert (found.gate.min_requests, found.gate.min_seconds, found.gate.promote) == (7, 3, "hand")
    # Tried again with nothing set, nothing of it is left.
    endpoint_gate = RegistryView(view.name, "champion", view.tracking_uri)
    endpoint_gate.try_version("2", share=None)
    assert GATE not in tags(client, view, 2)


@pytest.mark.parametrize(("tag", "value"), [(TRY, "half"), (GATE, "{"), (GATE, '{"min_requests": 0}')])
def test_a_candidate_with_tags_that_cannot_be_read_is_refused_and_the_champion_followed(
    make: Make, client: MlflowClient, tag: str, value: str
) -> None:
    view = make()
    view.try_version("2", share=None)
    client.set_model_version_tag(view.name, "2", tag, value)
    found = view.read()
    assert found.champion.version == "1"
    assert tag in found.refused["2"]


def test_a_candidate_without_tags_is_tried_in_the_shadow(make: Make, client: MlflowClient) -> None:
    """So that training with track.alias=challenger is all there is to do."""
    view = make()
    client.set_registered_model_alias(view.name, "challenger", "3")
    found = view.read().challenger
    assert found is not None
    assert found.share is None


def test_endpoints_of_two_aliases_of_a_model_do_not_meet(make: Make, client: MlflowClient) -> None:
    view = make()
    client.set_registered_model_alias(view.name, "small", "2")
    small = RegistryView(view.name, "small", view.tracking_uri)
    small.try_version("3", share=None)
    assert view.read().challenger is None
    small.promote()
    assert aliases(client, view) == {"champion": "1", "small": "3", "small-previous": "2"}
    assert rows_of(small.versions(), champion="small")[2]["state"] == "served before"


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (lambda view: view.try_version("1", share=None), "is its champion already"),
        (lambda view: view.try_version("9", share=None), "has no version 9"),
        (lambda view: view.try_version("x", share=None), "has no version x"),
        (lambda view: view.try_version("2", share=2.0), "give a share above 0, at most 1"),
        (lambda view: view.promote(), "no challenger to promote"),
        (lambda view: view.promote("9"), "has no version 9"),
        (lambda view: RegistryView("nosuch", "champion", view.tracking_uri).read(), "No model 'nosuch'"),
        (lambda view: RegistryView(view.name, "best", view.tracking_uri).read(), "no alias 'best': there is champion"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_in_words(
    make: Make, client: MlflowClient, order: Callable[[RegistryView], Any], said: str
) -> None:
    view = make()
    with pytest.raises(UserError, match=said):
        order(view)
    assert aliases(client, view) == {"champion": "1"}


def test_a_store_that_is_gone_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no MLflow database"):
        RegistryView("m", "champion", f"sqlite:///{tmp_path}/none.db").read()


def test_what_is_said_of_a_version_that_was_deleted_is_lost_and_no_fault(make: Make, client: MlflowClient) -> None:
    view = make()
    client.delete_model_version(view.name, "3")
    view.refuse("3", "bad")
    view.show("3", {})
    assert view.read(served="3").refused == {}


def test_the_list_says_what_becomes_of_each_version(make: Make, client: MlflowClient) -> None:
    view = make()
    view.promote("2")
    view.refuse("3", "it was [slow]")
    view.try_version("4", share=0.1)
    view.show("4", {"verdict": "wait", "why": "5 of 200 requests"})
    rows = rows_of(view.versions(), champion="champion")
    assert [(row["version"], row["aliases"], row["state"]) for row in rows] == [
        ("4", ["challenger"], "tried as share:0.1; wait: 5 of 200 requests"),
        ("3", [], "refused: it was [slow]"),
        ("2", ["champion"], "served"),
        ("1", ["previous"], "served before"),
    ]
    assert rows[1]["tags"] == {"score": "0.3"}
    assert json.loads(listed(view, as_json=True)) == rows
    assert "refused: it was [slow]" in listed(view, as_json=False)
    client.set_model_version_tag(view.name, "4", SHOWN, "[1]")
    assert rows_of(view.versions(), champion="champion")[0]["shown"] is None
