"""`python -m jobs.check` as people start it: its exit codes and its JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_embd=32, n_head=4, vocab_size=99, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs.check", *arguments],
        cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def test_a_model_without_a_tokenizer_is_proved_and_the_report_is_one_json_object(model: Path) -> None:
    done = run(str(model), "--json", "--steps", "1")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["equal"] is True
    assert (report["task"], report["model_class"], report["dtype"]) == ("causal-lm", "GPT2LMHeadModel", "float64")
    assert [stage["first"] for stage in report["stages"]] == ["embeddings", "transformer.h.1"]
    assert {entry["what"]: entry["ok"] for entry in report["differences"]} == dict.fromkeys(
        ["logits", "loss", "gradients", "updated weights"], True
    )
    assert "resid_pdrop" in report["silenced"]


def test_what_cannot_be_cut_ends_with_2_and_one_paragraph(model: Path) -> None:
    done = run(str(model), "--stages", "4", "--inside-blocks")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "2 of this model's blocks can be divided, which makes 2 to 3 stages, not 4." in done.stderr
    assert "Traceback" not in done.stderr
