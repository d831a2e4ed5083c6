"""The graph for OpenVINO answers nearly as its model does, at every length, and only where it can be run."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from threading import Thread

import onnx
import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer
from typer.testing import CliRunner

from jobs.compress import app
from pipelines.compress.calibrated import calibration_source, quantise_calibrated
from pipelines.compress.graph import export
from pipelines.config import DataConfig
from pipelines.errors import UserError
from pipelines.inference.network import GRAPH, OpenVinoNetwork, read_graph
from pipelines.inference.predictors import load_predictor
from tests.unit.pipelines.compress.test_half import HALF
from tests.unit.pipelines.inference.conftest import make_model_folder
from tests.unit.pipelines.inference.test_every_predictor import INPUTS, saved

pytestmark = pytest.mark.timeout(180)
LONGEST = 30
WORDS = ("Ann", "left", "Oslo", "it", "rains", "Bob", "sleeps")
TAGGED = "Ann B-PER\nleft O\nOslo B-LOC\n\nit O\nrains O\n\nBob B-PER\nsleeps O\n\n"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a token classifier's model, its graph, the graph for OpenVINO, and the rows it was scaled by."""
    place = tmp_path_factory.mktemp("names")
    folder = make_model_folder(place / "model", positions=LONGEST, task="token-classification")
    lengths = range(1, 14)
    sentences = ["".join(f"{word} O\n" for word in (WORDS * 2)[:length]) for length in lengths]
    (place / "train.conll").write_text("\n".join([TAGGED, *sentences]), encoding="utf-8")
    export(folder, place / "graph")
    rows = str(place / "train.conll")
    quantise_calibrated(place / "graph", place / "openvino", source=rows, data=DataConfig())
    return place


def test_it_is_an_onnx_graph_with_weights_of_a_byte_that_says_what_runs_it(names: Path) -> None:
    graph = onnx.load(names / "openvino" / GRAPH).graph
    stored = [one.data_type for one in graph.initializer if len(one.dims) == 2 and min(one.dims) > 1]
    assert stored.count(onnx.TensorProto.INT8) > len(stored) / 2
    assert any(node.op_type == "QuantizeLinear" for node in graph.node)
    assert json.loads((names / "openvino" / "task.json").read_text())["runtime"] == "openvino"
    assert isinstance(read_graph(names / "openvino", threads=1), OpenVinoNetwork)


@pytest.mark.parametrize("words", [1, 3, 6])
def test_words_get_the_tags_of_the_graph_whatever_shares_a_pass_at_every_length(names: Path, words: int) -> None:
    graph, quantised = (read_graph(names / name, threads=1) for name in ("graph", "openvino"))
    short, long = encoded(names, "Bob"), encoded(names, " ".join((WORDS * 2)[:words]))
    both = encoded(names, " ".join((WORDS * 2)[:words]), "Bob")
    found = quantised(**both).logits
    assert found.shape == graph(**both).logits.shape
    counted = both["attention_mask"].bool()
    # The weights are random and the sizes tiny: a step of 8 bits is much of them.
    agree = found.argmax(-1) == graph(**both).logits.argmax(-1)
    assert float(agree[counted].float().mean()) >= 0.9
    # Scales that were measured before do not depend on what else is in a pass.
    torch.testing.assert_close(found[0], quantised(**long).logits[0], atol=1e-4, rtol=0)
    length = short["input_ids"].shape[1]
    torch.testing.assert_close(found[1, :length], quantised(**short).logits[0], atol=1e-4, rtol=0)


def test_the_longest_text_that_the_model_reads_is_not_padded_beyond_it(names: Path) -> None:
    # No multiple of what lengths are rounded up to.
    rows = {name: column.repeat(1, LONGEST // 5) for name, column in encoded(names, "Bob").items()}
    network = read_graph(names / "openvino", threads=1)
    assert network(**rows).logits.shape[:2] == rows["input_ids"].shape == (1, LONGEST)


def encoded(names: Path, *texts: str) -> dict[str, Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(names / "graph")
    return dict(tokenizer(list(texts), padding=True, return_tensors="pt", return_token_type_ids=True))


def test_whole_texts_get_the_labels_of_the_model(tmp_path: Path) -> None:
    folder = saved("sequence-classification", tmp_path)
    inputs = INPUTS["sequence-classification"]
    predictor = load_predictor(folder, threads=1)
    expected = [asdict(one) for one in predictor.predict(inputs)]
    rows = tmp_path / "train.jsonl"
    lines = [json.dumps({"text": one.text, "label": two["label"]}) for one, two in zip(inputs, expected, strict=True)]
    rows.write_text("\n".join(lines), encoding="utf-8")
    export(folder, tmp_path / "graph")
    quantise_calibrated(tmp_path / "graph", tmp_path / "openvino", source=str(rows), data=DataConfig())
    found = [asdict(one) for one in load_predictor(tmp_path / "openvino", threads=1).predict(inputs)]
    for one, other in zip(found, expected, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=0.05)


def test_passes_of_several_threads_do_not_meet(names: Path) -> None:
    network = read_graph(names / "openvino", threads=1)
    rows = [
        {
            "input_ids": torch.full((1, 16), number),
            "attention_mask": torch.ones(1, 16, dtype=torch.int64),
            "token_type_ids": torch.zeros(1, 16, dtype=torch.int64),
        }
        for number in (5, 6, 7)
    ]
    expected = [network(**row).logits.clone() for row in rows]
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(20):
            if not torch.equal(network(**rows[number]).logits, expected[number]):
                wrong.append(number)

    threads = [Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_job_makes_it_by_the_training_rows(names: Path, tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text(TAGGED, encoding="utf-8")
    (tmp_path / "test.conll").write_text(TAGGED * 2, encoding="utf-8")
    words = [str(names / "model"), str(tmp_path), "--out", str(tmp_path / "forms"), "--most-lost", "100", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "forms" / "report.json").read_text())
    assert [one["form"]["name"] for one in report["verdicts"]] == [*HALF, "graph", "int8", "openvino"]
    # What others write while they measure is not in what a machine reads.
    assert json.loads(done.stdout) == report


def test_rows_that_are_given_win_over_those_of_train(tmp_path: Path) -> None:
    (tmp_path / "mine.conll").write_text(TAGGED, encoding="utf-8")
    given = str(tmp_path / "mine.conll")
    assert calibration_source(given, {"train": "other.conll"}, print) == given
    assert calibration_source(None, {"train": "other.conll", "test": "t.conll"}, print) == "other.conll"
    with pytest.raises(UserError, match=r"none\.conll"):
        calibration_source(str(tmp_path / "none.conll"), {}, print)


def test_labels_that_the_model_does_not_know_are_named(names: Path, tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("Ann B-ELF\n\n", encoding="utf-8")
    rows = str(tmp_path / "train.conll")
    with pytest.raises(UserError, match="B-ELF"):
        quantise_calibrated(names / "graph", tmp_path / "out", source=rows, data=DataConfig())
    assert not (tmp_path / "out").exists()


def test_a_graph_that_something_unknown_runs_is_refused(names: Path) -> None:
    facts = names / "graph" / "task.json"
    before = facts.read_text()
    facts.write_text(json.dumps(json.loads(before) | {"runtime": "abacus"}))
    try:
        with pytest.raises(UserError, match="says that 'abacus' runs its graph"):
            read_graph(names / "graph", threads=1)
    finally:
        facts.write_text(before)


def test_a_file_that_is_no_graph_is_refused(names: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(names / "openvino", tmp_path / "broken"))
    (broken / GRAPH).write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"model\.onnx cannot be read: .* Export it anew"):
        read_graph(broken, threads=1)
