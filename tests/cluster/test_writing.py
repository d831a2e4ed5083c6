"""Texts that a run writes for its test split are those that the model it saves writes by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.driver import Driver, StopRequest
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.report.texts import TextReport, text_report
from pipelines.report.tokens import TokenReport
from tests.cluster.watcher import Watcher
from tests.tiny_lm import write_lm

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("ray_session")]

PLACES = ("Oslo", "Rome", "Lima", "Bern")
MOST = 10


class Keeper(Watcher):
    """Takes any task's reports."""

    def scored(self, split: str, *, epoch: int, step: int, report: Any) -> None:
        self.reports[split].append((epoch, step, report))


def run(folder: Path, task: str, model: Path, rows: list[dict[str, str]], **train: Any) -> TextReport:
    for split in ("train", "dev", "test"):
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    settings = Config.model_validate(
        {
            "model": {"source": str(model)},
            "data": {"path": str(folder), "shards": 2, "max_length": 48},
            "train": {
                "task": task, "batch_size": 4, "max_steps": 3, "learning_rate": 1e-2, "max_new_tokens": MOST,
                "token_budget": 100, **train,
            },
            "plan": {"stages": 2, "cpus_per_stage": 0.25, "timeout": 60},
            "checkpoint": {"resume": "never"},
        }
    )  # fmt: skip
    watcher = Keeper()
    driver = Driver(settings, folder / "run", watcher, may_grow=False, stop=StopRequest())
    try:
        driver.run()
        driver.save_model(folder / "saved")
    finally:
        driver.close()
    ((_, _, report),) = watcher.reports["test"]
    assert isinstance(report, TextReport)
    assert isinstance(watcher.reports["dev"][-1][2], TokenReport)
    return report


def test_what_is_written_over_two_stages_scores_as_what_the_saved_model_writes(tmp_path: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    rows = [{"source": f"it rains in {place}", "target": place} for place in PLACES * 2]
    report = run(tmp_path, "seq2seq-lm", write_lm(tmp_path / "model", "bart", spread=0.2), rows)
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "saved").eval()
    assert model.config.use_cache
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    written = []
    for row in rows:
        ids = tokenizer(row["source"], return_tensors="pt")
        given = {name: ids[name] for name in ("input_ids", "attention_mask")}
        out = model.generate(**given, do_sample=False, num_beams=1, max_new_tokens=MOST)
        written.append(tokenizer.decode(out[0], skip_special_tokens=True).strip())
    expected = text_report(report.tokens, [row["target"] for row in rows], written)
    assert report == expected
    assert report.texts == len(rows)


def test_the_answers_of_chats_are_written_too(tmp_path: Path) -> None:
    rows = [{"prompt": f"Where? {place}", "answer": place} for place in PLACES]
    report = run(tmp_path, "causal-lm", write_lm(tmp_path / "model", "gpt2"), rows)
    assert report.texts == len(rows)
    assert 0 <= report.chrf <= 100


def test_an_example_that_no_micro_batch_has_room_for_is_refused(tmp_path: Path) -> None:
    rows = [{"source": "it rains in Oslo", "target": "Oslo"}]
    with pytest.raises(UserError, match=r"longest example of the train split has 22 sub-words .* room for 20\. Raise"):
        run(tmp_path, "seq2seq-lm", write_lm(tmp_path / "model", "t5", layers=1), rows, token_budget=20)
