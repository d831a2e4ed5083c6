"""The Open Inference Protocol without a server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from pipelines.inference.api import create_api
from pipelines.inference.class_predictor import Label, LabelPredictor, TextOrPair
from pipelines.inference.credentials import hash_key
from pipelines.inference.entities import Entity
from pipelines.inference.entity_predictor import Entities, EntityPredictor
from pipelines.inference.predictor import Predictor, Text
from pipelines.inference.service import Limits
from pipelines.inference.text_predictor import Prompt, TranslationPredictor, Written
from tests.unit.pipelines.inference.conftest import by_version

JSON = {"Content-Type": "application/json"}
pytestmark = pytest.mark.timeout(30)


async def compare(inputs: list[TextOrPair]) -> list[Label]:
    return [Label("same" if given.text == given.pair else "other", 0.5, {"same": 0.5}) for given in inputs]


async def find(inputs: list[Text]) -> list[Entities]:
    return [Entities([Entity("LOC", 0, 2, given.text, 0.5)]) for given in inputs]


async def write(inputs: list[Prompt]) -> list[Written]:
    return [Written(given.text, True, given.max_new_tokens) for given in inputs]


def ask(
    path: str,
    body: Any = None,
    *,
    answer: Any = compare,
    predictor: type[Predictor] = LabelPredictor,
    key: str | None = None,
) -> httpx.Response:
    async def one() -> httpx.Response:
        app = create_api(
            by_version(answer),
            predictor,
            model="m",
            version=lambda: "1",
            limits=Limits(2, 10),
            key_sha256=key and hash_key(key),
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await (
                client.get(path) if body is None else client.post(path, content=json.dumps(body), headers=JSON)
            )

    return asyncio.run(one())


def tensor(name: str, data: list[Any], datatype: str = "BYTES", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data, **more}


def test_texts_come_as_bytes_and_outputs_go_as_tensors() -> None:
    body = {"id": "7", "inputs": [tensor("text", ["a", "a"]), tensor("pair", ["a", "b"])]}
    assert ask("/v2/models/m/infer", body).json() == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "outputs": [
            tensor("label", ["same", "other"]),
            tensor("score", [0.5, 0.5], "FP64"),
            tensor("scores", ['{"same": 0.5}', '{"same": 0.5}'], parameters={"content_type": "application/json"}),
        ],
    }


def test_a_column_of_the_protocol_s_other_shape_is_the_same() -> None:
    column = {"name": "text", "shape": [2, 1], "datatype": "BYTES"}
    flat, nested = ({"inputs": [{**column, "data": data}]} for data in (["a", "b"], [["a"], ["b"]]))
    assert ask("/v2/models/m/infer", flat).json() == ask("/v2/models/m/versions/1/infer", nested).json()


def test_only_the_outputs_that_are_asked_for_go_back() -> None:
    body = {"inputs": [tensor("text", ["北京"])], "outputs": [{"name": "entities"}]}
    [found] = ask("/v2/models/m/infer", body, answer=find, predictor=EntityPredictor).json()["outputs"]
    assert (found["name"], found["datatype"], found["shape"]) == ("entities", "BYTES", [1])
    assert json.loads(found["data"][0]) == [{"type": "LOC", "start": 0, "end": 2, "text": "北京", "score": 0.5}]


def test_numbers_go_in_as_integers_and_come_out_as_what_they_are() -> None:
    body = {"inputs": [tensor("text", ["a"]), tensor("max_new_tokens", [3], "INT32")]}
    outputs = ask("/v2/models/m/infer", body, answer=write, predictor=TranslationPredictor).json()["outputs"]
    assert outputs == [tensor("text", ["a"]), tensor("finished", [True], "BOOL"), tensor("left_out", [3], "INT64")]


def test_the_server_and_the_model_say_what_they_are() -> None:
    assert ask("/v2").json()["name"] == "motley"
    assert ask("/v2/health/live").json() == {"live": True}
    assert ask("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/m", "/v2/models/m/versions/1"):
        assert ask(f"{path}/ready").json() == {"name": "m", "ready": True}
        assert ask(path).json() == {
            "name": "m",
            "versions": ["1"],
            "platform": "motley",
            "inputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in ("text", "pair")],
            "outputs": [
                {"name": "label", "datatype": "BYTES", "shape": [-1]},
                {"name": "score", "datatype": "FP64", "shape": [-1]},
                {"name": "scores", "datatype": "BYTES", "shape": [-1]},
            ],
        }


@pytest.mark.parametrize("path", ["/v2/models/private", "/v2/models/m/versions/2", "/v2/models/m/versions/2/ready"])
def test_another_model_or_version_is_not_found(path: str) -> None:
    response = ask(path)
    assert response.status_code == 404
    assert response.json()["error"].startswith("There is no such")
    assert "private" not in response.text


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([tensor("private", ["a"])], "Send each of these tensors at most once and no others: text, pair."),
        ([tensor("text", ["a"]), tensor("text", ["a"])], "Send each of these tensors at most once"),
        ([tensor("pair", ["a"])], "An input of text, pair cannot be made of these tensors: Field required."),
        ([tensor("text", ["a"]), tensor("pair", ["a", "b"])], "The tensors differ in length"),
        ([tensor("text", [1])], "Tensor text holds a value that is not of datatype BYTES."),
        ([tensor("text", [1], "INT64")], "Tensor text must have datatype BYTES."),
        ([{**tensor("text", ["a"]), "shape": [2]}], "Tensor text must hold as many values as its shape says"),
        ([{**tensor("text", ["a", "b"]), "shape": [1, 2]}], "Tensor text must hold as many values as its shape says"),
        ([{**tensor("text", ["a"]), "shape": [-1]}], "Send Content-Type: application/json and a body such as"),
        ([tensor("text", [], parameters={"binary_data_size": 5})], "Tensor text comes as binary data"),
        ([tensor("text", ["\ud800"])], "Input 0 holds half of a surrogate pair"),
        ([], "Send Content-Type: application/json and a body such as"),
    ],
)
def test_tensors_that_are_no_inputs_are_refused_in_words(inputs: list[Any], words: str) -> None:
    response = ask("/v2/models/m/infer", {"inputs": inputs})
    assert response.status_code == 422
    assert response.json()["error"].startswith(words)
    assert "private" not in response.text


def test_limits_hold_here_too() -> None:
    assert ask("/v2/models/m/infer", {"inputs": [tensor("text", ["a"] * 3)]}).status_code == 413
    assert ask("/v2/models/m/infer", {"inputs": [tensor("text", ["a" * 11])]}).status_code == 413


def test_only_health_needs_no_key() -> None:
    codes = {path: ask(path, key="k").status_code for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/m")}
    assert codes == {"/v2/health/live": 200, "/v2/health/ready": 200, "/v2/models/m": 401}
