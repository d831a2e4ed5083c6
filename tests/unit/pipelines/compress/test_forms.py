"""Graphs of tiny models with random weights answer as the models do, and each form says what it loses."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from jobs.compress import app
from pipelines.compress.beside import copy_beside
from pipelines.compress.compress import Form, judge
from pipelines.compress.graph import TASKS, export
from pipelines.compress.int8 import quantise
from pipelines.errors import UserError
from pipelines.inference.network import GRAPH
from pipelines.inference.predictors import load_predictor
from tests.unit.pipelines.compress.test_half import HALF
from tests.unit.pipelines.inference.conftest import make_model_folder
from tests.unit.pipelines.inference.test_every_predictor import INPUTS, near, saved

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("task", TASKS)
def test_a_graph_answers_as_its_model_does_whatever_shares_a_pass(task: str, tmp_path: Path) -> None:
    folder = saved(task, tmp_path)
    export(folder, tmp_path / "graph")
    assert not list((tmp_path / "graph").glob("*.safetensors"))
    expected = [asdict(one) for one in load_predictor(folder, threads=1).predict(INPUTS[task])]
    graph = load_predictor(tmp_path / "graph", threads=1)
    assert near([asdict(one) for one in graph.predict(INPUTS[task])], expected)
    assert near([asdict(graph.predict([given])[0]) for given in INPUTS[task]], expected)


def test_an_int8_graph_holds_its_matrices_in_a_byte_each(tmp_path: Path) -> None:
    folder = saved("sequence-classification", tmp_path)
    export(folder, tmp_path / "graph")
    quantise(tmp_path / "graph", tmp_path / "int8")
    graph = onnx.load(tmp_path / "int8" / GRAPH).graph
    stored = {one.data_type for one in graph.initializer if len(one.dims) == 2 and min(one.dims) > 1}
    assert onnx.TensorProto.INT8 in stored
    assert onnx.TensorProto.FLOAT not in stored
    assert any(node.op_type == "DynamicQuantizeLinear" for node in graph.node)
    assert len(load_predictor(tmp_path / "int8", threads=1).predict(INPUTS["sequence-classification"])) == 3
    assert sorted(path.name for path in (tmp_path / "int8").glob("*.onnx")) == [GRAPH]


@pytest.mark.parametrize(
    ("changes", "accepted", "why"),
    [
        ({}, False, "neither faster nor smaller here"),
        ({"tokens_per_second": 1100}, True, "faster"),
        ({"latency": 0.005}, True, "faster"),
        ({"bytes": 25}, True, "smaller"),
        ({"bytes": 25, "tokens_per_second": 2000}, True, "faster and smaller"),
        ({"bytes": 25, "score": 0.796}, True, "smaller"),
        ({"bytes": 25, "score": 0.79}, False, "loses 1.00 points, and 0.50 are allowed"),
        # A little faster may be chance.
        ({"tokens_per_second": 1040}, False, "neither faster nor smaller here"),
    ],
)
def test_a_form_is_accepted_for_what_it_saves_if_it_loses_little(
    changes: dict[str, float], accepted: bool, why: str
) -> None:
    plain = Form("fp32", Path("m"), 100, 0.8, "F1", 0.01, 1000)
    verdict = judge(plain, replace(plain, name="int8", **changes), 0.005)  # type: ignore[arg-type]
    assert (verdict.accepted, verdict.why) == (accepted, why)


def test_the_job_writes_forms_a_report_and_a_picture(tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "tiny", task="token-classification")
    rows = tmp_path / "test.conll"
    rows.write_text("Ann B-PER\nleft O\nOslo B-LOC\n\nit O\nrains O\n\nBob B-PER\nsleeps O\n\n" * 4, encoding="utf-8")
    out = tmp_path / "forms"
    words = [str(folder), str(rows), "--out", str(out), "--most-lost", "100", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    report = json.loads((out / "report.json").read_text())
    # There are no rows but those to score on: none to scale by.
    assert "no form for OpenVINO: give it other rows" in done.output
    assert report["chosen"] in {*HALF, "graph", "int8"}
    assert [one["form"]["name"] for one in report["verdicts"]] == [*HALF, "graph", "int8"]
    assert report["verdicts"][0]["lost"] == pytest.approx(0, abs=1e-9)
    assert (out / "forms.png").stat().st_size > 1000
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "exists: remove it" in again.output


def test_a_model_with_an_adapter_beside_it_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "tiny", task="token-classification")
    (folder / "adapter").mkdir()
    with pytest.raises(UserError, match="holds an adapter beside its model"):
        copy_beside(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_a_graph_is_refused_in_words(tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "tiny", task="causal-lm")
    with pytest.raises(UserError, match="trained for 'causal-lm'; a graph can be made for token-classification"):
        export(folder, tmp_path / "graph")
    broken = make_model_folder(tmp_path / "broken", task="token-classification")
    export(broken, tmp_path / "graph")
    (tmp_path / "graph" / GRAPH).write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"model\.onnx cannot be read: .* Export it anew"):
        load_predictor(tmp_path / "graph", threads=1)
