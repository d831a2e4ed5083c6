"""A worker's models, without Ray."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import UserError
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.holder import Holder, Loaded
from pipelines.inference.pass_cost import UNMEASURED
from pipelines.inference.predictor import Text
from tests.unit.pipelines.inference.conftest import make_model_folder

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("holder") / "tiny")


def load(uri: str) -> Loaded:
    return Loaded(EntityPredictor.load(Path(uri), threads=1))


def test_a_pass_gives_what_the_predictor_says_and_how_long_each_input_was(folder: Path) -> None:
    texts = [Text("Ann moved to Berlin."), Text(""), Text("Oslo")]
    computed = asyncio.run(Holder(load, name="w").compute(str(folder), texts))
    assert computed.outputs == load(str(folder)).predictor.predict(texts)
    assert computed.worker == "w"
    assert computed.lengths[0] > computed.lengths[2] > 0


def test_facts_tell_what_an_interface_needs(folder: Path) -> None:
    facts = asyncio.run(Holder(load, name="w").facts(str(folder)))
    assert (facts.predictor, facts.explains, facts.writes) == (EntityPredictor, True, False)
    assert facts.cost != UNMEASURED


def test_a_failing_input_does_not_fail_the_others(caplog: pytest.LogCaptureFixture, folder: Path) -> None:
    class Picky(EntityPredictor):
        def answer(self, readings: Any) -> list[Any]:
            if any("nuts" in reading.given.text for reading in readings):
                raise RuntimeError("cannot read nuts")
            return super().answer(readings)

    holder = Holder(lambda uri: Loaded(Picky.load(Path(uri), threads=1)), name="w")
    computed = asyncio.run(holder.compute(str(folder), [Text("tea"), Text("nuts"), Text("rice")]))
    assert [output is None for output in computed.outputs] == [False, True, False]
    assert "nuts" not in caplog.text


def test_a_second_model_is_loaded_while_the_first_answers(folder: Path) -> None:
    go = threading.Event()

    def slowly(uri: str) -> Loaded:
        if uri == "second":
            assert go.wait(60)
        return load(str(folder))

    async def ask() -> None:
        holder = Holder(slowly, name="w")
        await holder.predictor("first")
        second = asyncio.create_task(holder.compute("second", [Text("Oslo")]))
        assert len((await holder.compute("first", [Text("Berlin")])).outputs) == 1
        assert holder.held == ["first"]
        go.set()
        await second
        assert sorted(holder.held) == ["first", "second"]
        holder.drop("first")
        assert holder.held == ["second"]

    asyncio.run(ask())


def test_what_cannot_be_loaded_is_tried_again_when_it_is_asked_for_again(folder: Path) -> None:
    there: list[str] = []

    def absent(uri: str) -> Loaded:
        if not there:
            raise UserError("no model there")
        return load(uri)

    async def ask() -> None:
        holder = Holder(absent, name="w")
        with pytest.raises(UserError, match="no model there"):
            await holder.predictor(str(folder))
        assert holder.held == []
        there.append("now")
        await holder.predictor(str(folder))
        assert holder.held == [str(folder)]

    asyncio.run(ask())
