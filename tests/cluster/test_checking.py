"""A check on real actors: equal, tampered with, refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cluster.checking import check, judge, prepare, run_cut, run_plain
from pipelines.errors import UserError

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_session")]
SIZES = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    llama = transformers.LlamaConfig(num_hidden_layers=3, num_key_value_heads=2, max_position_embeddings=64, **SIZES)
    transformers.LlamaForCausalLM(llama).save_pretrained(folder / "llama")
    gpt2 = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=4, vocab_size=99, n_positions=64)
    transformers.GPT2LMHeadModel(gpt2).save_pretrained(folder / "gpt2")
    # Its embedding has more rows than sparse.SMALLEST, so it is trained by rows.
    bert = transformers.BertConfig(num_hidden_layers=3, max_position_embeddings=64, **SIZES | {"vocab_size": 1100})
    transformers.BertModel(bert).save_pretrained(folder / "bert")
    t5 = transformers.T5Config(
        num_layers=2, vocab_size=99, d_model=32, d_kv=8, d_ff=64, num_heads=4, decoder_start_token_id=0
    )
    transformers.T5ForConditionalGeneration(t5).save_pretrained(folder / "t5")
    reformer = transformers.ReformerConfig(
        vocab_size=99, hidden_size=32, feed_forward_size=64, num_attention_heads=4, attention_head_size=8,
        axial_pos_embds=False, attn_layers=["local", "lsh"], local_attn_chunk_length=16, lsh_attn_chunk_length=16,
        num_buckets=2, max_position_embeddings=64, is_decoder=True,
    )  # fmt: skip
    transformers.ReformerModelWithLMHead(reformer).save_pretrained(folder / "reformer")
    return folder


@pytest.mark.parametrize(
    ("name", "stages", "task"),
    [("llama", 2, "causal-lm"), ("t5", 3, "seq2seq-lm"), ("bert", 3, "token-classification")],
)
def test_a_cut_model_equals_the_plain_one(models: Path, name: str, stages: int, task: str) -> None:
    given = task if name == "bert" else None
    report = check(str(models / name), task=given, stages=stages, dtype="float64", steps=2)
    assert report.first is None
    assert report.task == task
    assert len(report.stages) == stages
    assert [entry.what for entry in report.differences] == ["logits", "loss", "gradients", "updated weights"]
    assert all(entry.largest <= entry.bound == 1e-10 for entry in report.differences)
    assert report.losses[0] == report.losses[1] != report.losses[2]


def test_a_model_is_proved_with_its_attention_on_one_stage_and_its_feed_forward_on_the_next(models: Path) -> None:
    report = check(str(models / "gpt2"), task=None, stages=3, dtype="float64", steps=1, inside=True)
    assert report.first is None
    assert [(stage.first, stage.last) for stage in report.stages] == [
        ("embeddings", "transformer.h.0 (up to attn)"),
        ("transformer.h.0 (behind attn)", "transformer.h.1 (up to attn)"),
        ("transformer.h.1 (behind attn)", "head"),
    ]


@pytest.mark.parametrize(
    ("name", "place"),
    [("t5", {"encoder": "gpu", "decoder": "cpu"}), ("bert", {"attention": "gpu", "feed-forward": "cpu"})],
)
def test_parts_of_a_model_on_unlike_devices_equal_the_plain_one(models: Path, name: str, place: dict[str, str]) -> None:
    task = "token-classification" if name == "bert" else None
    report = check(str(models / name), task=task, stages=2, dtype="float64", steps=2, place=place)
    assert report.first is None
    assert [stage.device for stage in report.stages] == [
        "CPU, 1 thread in place of a GPU, which Ray assigned but this node has not",
        "CPU, 1 thread",
    ]


@pytest.mark.parametrize(("name", "adapter"), [("bert", "adalora"), ("t5", "lora"), ("bert", "prefix-tuning")])
def test_a_cut_adapter_equals_what_peft_makes_of_it(models: Path, name: str, adapter: str) -> None:
    task = "token-classification" if name == "bert" else None
    report = check(str(models / name), task=task, stages=3, dtype="float64", steps=3, adapter=adapter)
    assert report.first is None
    assert all(entry.largest <= entry.bound == 1e-10 for entry in report.differences)
    assert 0 < report.num_trained < report.num_weights
    # AdaLoRA's loss has the orthogonality of its matrices in it.
    assert report.losses[1] > report.losses[-1]


def test_a_wrong_gradient_and_a_wrong_weight_are_reported_by_name(models: Path) -> None:
    trial = prepare(str(models / "llama"), task=None, stages=2, dtype="float32", steps=1)
    cut, plain = run_cut(trial), run_plain(trial)
    assert judge(trial, cut, plain).first is None
    name = "model.layers.1.mlp.up_proj.weight"
    for kind in ("gradients", "weights"):
        values = dict(getattr(plain, kind))
        values[name] = values[name] * 1.01
        report = judge(trial, cut, replace(plain, **{kind: values}))
        assert report.first == f"{'updated ' * (kind == 'weights')}{kind} of {name}"
        assert [entry.where for entry in report.differences if not entry.ok] == [name]
    without = {key: value for key, value in cut.weights.items() if key != name}
    assert judge(trial, replace(cut, weights=without), plain).first == f"updated weights of {name}"


def test_a_model_that_cannot_be_cut_is_refused_with_the_reason(models: Path) -> None:
    with pytest.raises(UserError, match="ReformerModelWithLMHead cannot be cut"):
        check(str(models / "reformer"), task=None, stages=2, dtype="float64", steps=1)
    with pytest.raises(UserError, match=r"only 8 units, but 9 stages .* Lower --stages"):
        check(str(models / "llama"), task=None, stages=9, dtype="float64", steps=1)
    with pytest.raises(UserError, match="known: float64, float32"):
        check(str(models / "llama"), task=None, stages=2, dtype="float16", steps=1)
