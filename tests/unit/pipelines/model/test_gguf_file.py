"""A GGUF file is a source of models like any other, and a damaged one is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, dequantize, quantize

from pipelines.check.load import load_subject
from pipelines.errors import UserError
from pipelines.model.load import load_model, load_tokenizer, resolve

WIDTH, INNER, HEADS, LAYERS = 64, 96, 4, 2
TOKENS = ["<s>", "</s>", *"abcdefgh", "Ġ", "Ġa", "ab"]
MERGES = ["Ġ a", "a b"]


def write(path: Path, *, architecture: str = "llama", splits: int = 1, merges: bool = True) -> dict[str, np.ndarray]:
    """A two-layer model of random weights, its matrices quantised to 8 bits; returns what they stand for."""
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(32)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    if splits > 1:
        writer.add_uint16("split.count", splits)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, *[1] * (len(TOKENS) - 2)])
    if merges:
        writer.add_token_merges(MERGES)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    chance = np.random.default_rng(0)
    shapes = {"token_embd": (len(TOKENS), WIDTH), "output_norm": (WIDTH,)}
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{layer}.{name}"] = (WIDTH, WIDTH)
        shapes |= {f"blk.{layer}.ffn_gate": (INNER, WIDTH), f"blk.{layer}.ffn_up": (INNER, WIDTH)}
        shapes |= {f"blk.{layer}.ffn_down": (WIDTH, INNER)}
        shapes |= {f"blk.{layer}.{name}": (WIDTH,) for name in ("attn_norm", "ffn_norm")}
    kept = {}
    for name, shape in shapes.items():
        value = chance.normal(0, 0.1, shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", value)
        else:
            eight = quantize(value, GGMLQuantizationType.Q8_0)
            writer.add_tensor(f"{name}.weight", eight, raw_dtype=GGMLQuantizationType.Q8_0)
            value = dequantize(eight, GGMLQuantizationType.Q8_0)
        kept[name] = value
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return kept


def test_a_gguf_file_gives_a_model_with_its_dequantised_weights_and_its_tokenizer(tmp_path: Path) -> None:
    import transformers

    path = tmp_path / "tiny.gguf"
    kept = write(path)
    assert resolve(str(path)) == str(path)
    model = load_model(str(path), auto_class=transformers.AutoModelForCausalLM, dtype="float32", seed=0)
    assert type(model).__name__ == "LlamaForCausalLM"
    found = model.state_dict()
    for name, there in {
        "token_embd": "model.embed_tokens", "output_norm": "model.norm",
        "blk.1.ffn_down": "model.layers.1.mlp.down_proj",
        "blk.0.attn_v": "model.layers.0.self_attn.v_proj", "blk.1.attn_output": "model.layers.1.self_attn.o_proj",
    }.items():  # fmt: skip
        assert torch.equal(found[f"{there}.weight"], torch.from_numpy(kept[name])), name
    # What is trained from it is saved and loaded like any other model.
    model.save_pretrained(tmp_path / "saved")
    again = load_model(str(tmp_path / "saved"), auto_class=transformers.AutoModelForCausalLM, dtype="float32", seed=0)
    assert all(torch.equal(value, found[name]) for name, value in again.state_dict().items())
    tokenizer = load_tokenizer(str(path))
    encoded = tokenizer([["a", "ab"]], is_split_into_words=True, add_special_tokens=False)
    assert encoded.word_ids(0)[0] == 0
    assert encoded.word_ids(0)[-1] == 1


def test_the_task_of_a_gguf_file_is_text_from_text(tmp_path: Path) -> None:
    write(tmp_path / "tiny.gguf")
    subject = load_subject(str(tmp_path / "tiny.gguf"), task=None, dtype="float64")
    assert (subject.task, type(subject.model).__name__) == ("causal-lm", "LlamaForCausalLM")
    assert {parameter.dtype for parameter in subject.model.parameters()} == {torch.float64}


@pytest.mark.parametrize("kept", [4, 30, 500, 0.5, 0.999])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "tiny.gguf"
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])
    with pytest.raises(UserError, match=r"tiny.gguf is damaged or cut short .* Get the file again"):
        resolve(str(path))


def test_what_is_no_whole_gguf_file_that_transformers_knows_is_refused(tmp_path: Path) -> None:
    import transformers

    path = tmp_path / "tiny.gguf"
    with pytest.raises(UserError, match=r"no model at .* a \.gguf file"):
        resolve(str(path))
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(UserError, match="is no GGUF file"):
        resolve(str(path))
    write(path, splits=3)
    with pytest.raises(UserError, match="is one of 3 that make a model"):
        resolve(str(path))
    write(path, architecture="unheardof")
    for load in (
        lambda: load_model(str(path), auto_class=transformers.AutoModelForCausalLM, dtype="float32", seed=0),
        lambda: load_subject(str(path), task=None, dtype="float32"),
        lambda: load_tokenizer(str(path)),
    ):
        with pytest.raises(UserError, match="architecture unheardof is not supported"):
            load()


def test_a_source_that_no_file_could_be_named_is_refused() -> None:
    with pytest.raises(UserError, match=r"'a{40}'\.\.\. cannot be looked up: .*Correct model\.source"):
        resolve("a" * 300)
