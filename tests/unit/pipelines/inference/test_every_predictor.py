"""What holds of every predictor; a new one needs inputs of its own and no test of these. Weights are random."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from pipelines.inference.answer_predictor import Question
from pipelines.inference.class_predictor import TextOrPair
from pipelines.inference.media_predictor import AudioFile, ImageFile
from pipelines.inference.predictor import Predictor, Text, takes_media
from pipelines.inference.predictors import PREDICTORS, load_predictor
from pipelines.inference.signature import signature_of
from pipelines.inference.text_predictor import Prompt
from pipelines.line.messages import plain, typed
from pipelines.tasks import TASKS, make_task
from tests.tiny_media import pixels, recording
from tests.unit.pipelines.tasks.samples import SAMPLES, model_of

TEXTS = [Text("Ann left Oslo"), Text(""), Text("it rains in Rome " * 40), Text("Bob \ud800")]
PAIRS = [TextOrPair("Ann left", "Oslo"), TextOrPair(""), TextOrPair("it rains in Rome " * 40)]
PROMPTS = [Prompt("Where is Ann?", 5), Prompt("", 3), Prompt("it rains " * 40, 5), Prompt("Where is Bob?", 5)]


def png(n: int) -> str:
    raw = io.BytesIO()
    Image.fromarray(pixels(n, 9 + n)).save(raw, "PNG")
    return base64.b64encode(raw.getvalue()).decode()


INPUTS: dict[str, list[Any]] = {
    "token-classification": TEXTS,
    "sequence-classification": PAIRS,
    "multi-label-classification": PAIRS,
    "regression": PAIRS,
    "question-answering": [
        Question("who left", "Ann left Oslo"),
        Question("", ""),
        Question("where", "it rains in Rome " * 40),
        Question("who " * 200, "Ann"),
    ],
    "sentence-embedding": TEXTS,
    "masked-lm": [*TEXTS, Text("Ann is in [MASK]."), Text("[MASK] " * 100)],
    "causal-lm": PROMPTS,
    "seq2seq-lm": PROMPTS,
    "image-classification": [ImageFile(png(n)) for n in (0, 1, 0)],
    "audio-classification": [
        AudioFile(base64.b64encode(recording(n, 900 + 170 * n)).decode()) for n in (0, 1, 2)
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def predictor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load_predictor(saved(request.param, tmp_path_factory.mktemp("model")), threads=1)


def saved(name: str, folder: Path) -> Path:
    """The sample's model with a head for the task, as a run saves it."""
    task, sample = make_task(name), SAMPLES[name]
    written = sample.write(folder / "begun")
    task.load_processor(str(written)).save_pretrained(folder / "model")
    model_of(task, sample, written).float().save_pretrained(folder / "model")
    (folder / "model" / "task.json").write_text(json.dumps({"task": name, "chats": True}))
    return folder / "model"


def each(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "predictor"), [(name, name) for name in names], indirect=["predictor"])


def near(one: Any, other: Any) -> bool:
    """The same but for rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(near, one, other))
    return bool(one == pytest.approx(other, abs=1e-5)) if isinstance(one, float) else bool(one == other)


def test_every_task_has_a_predictor_and_each_has_inputs_here() -> None:
    assert set(PREDICTORS) == set(TASKS) == set(INPUTS)


@each(PREDICTORS)
def test_an_answer_does_not_depend_on_what_else_is_asked(name: str, predictor: Predictor) -> None:
    together = [asdict(one) for one in predictor.predict(INPUTS[name])]
    alone = [asdict(predictor.predict([given])[0]) for given in INPUTS[name]]
    assert near(together, alone), (together, alone)
    assert all(isinstance(one, predictor.gives) for one in predictor.predict(INPUTS[name]))
    json.dumps(together, allow_nan=False)
    assert predictor.predict([]) == []


@each(PREDICTORS)
def test_inputs_and_answers_go_over_a_line_unchanged(name: str, predictor: Predictor) -> None:
    found = [*predictor.predict(INPUTS[name]), None]
    for values, kind in ((INPUTS[name], predictor.takes), (found, predictor.gives)):
        assert typed(json.loads(json.dumps(plain(values, kind))), kind) == values


@each(PREDICTORS)
def test_it_can_be_warmed_up_and_says_what_it_takes_and_gives(name: str, predictor: Predictor) -> None:  # noqa: ARG001
    assert len(predictor.predict([predictor.hello])) == 1
    given, found = predictor.example
    assert TypeAdapter(predictor.takes).validate_json(json.dumps(given))
    assert TypeAdapter(predictor.gives).validate_json(json.dumps(found))
    signature = signature_of(type(predictor))
    assert [column.name for column in signature.inputs] == list(
        TypeAdapter(predictor.takes).json_schema()["properties"]
    )
    assert predictor.asks.endswith(".")
    assert predictor.refuses(predictor.hello) is None


@each(name for name in PREDICTORS if takes_media(PREDICTORS[name]))
@pytest.mark.parametrize(("file", "why"), [("é?", "is not in base64"), ("AAAA", "cannot be read")])
def test_a_file_that_is_none_is_refused_in_words(name: str, predictor: Predictor, file: str, why: str) -> None:  # noqa: ARG001
    said = predictor.refuses(predictor.takes(file))
    assert said is not None
    assert why in said
