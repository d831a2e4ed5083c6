"""A model without the embeddings of sub-words that given texts never use; see pipelines/compress/vocabulary.py."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipelines.compress.beside import copy_beside
from pipelines.compress.vocabulary import needed, trimmed
from pipelines.config import DataConfig
from pipelines.data.pack import merge, pack
from pipelines.data.read import read_split
from pipelines.errors import UserError
from pipelines.evaluate.answer import labels_of
from pipelines.inference.facts import read_facts
from pipelines.model.load import load_model, quiet
from pipelines.model.pretrained import positions
from pipelines.tasks import make_task
from pipelines.tasks.task import Task

TOKENIZER = "tokenizer.json"
STALE = ("vocab.txt", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json", "*.model")
"""Other files of a vocabulary; whoever has tokenizer.json needs none of them."""
LARGEST_ERROR = 1e-5
"""Of a logit; nothing but the numbers of the rows has changed."""
COMPARED = 8
"""Rows whose logits are compared."""
ANY_LENGTH = 10**6


@dataclass(frozen=True, slots=True)
class Trimmed:
    """How many pieces there were, and how many stayed."""

    before: int
    after: int
    rows: int
    """That they were looked for in."""


def trim(folder: Path, out: Path, *, source: str, data: DataConfig) -> Trimmed:
    """Write the model in `folder` to the new folder `out`, with the sub-words that the rows of a training split use.

    Raises:
        UserError: a model that says sub-words, a tokenizer that cannot be trimmed, data that cannot be used, or a model
            that answers otherwise afterwards.
    """
    task, labels = make_task(str(read_facts(folder).get("task"))), labels_of(folder)
    model: Any = _load(folder, task, labels)
    table, path = model.get_input_embeddings(), folder / TOKENIZER
    if not path.is_file() or model.get_output_embeddings() is not None or not isinstance(table, nn.Embedding):
        raise UserError(
            f"The vocabulary of {folder} cannot be trimmed: that is for models with a {TOKENIZER} that read sub-words "
            "and say something else, such as a label."
        )
    found = read_split(source, split="train", data=data, kind=task.kind)
    if unknown := sorted(found.labels.difference(labels)) if labels else []:
        raise UserError(f"{source} holds labels that the model does not know: {', '.join(unknown[:10])}.")
    processor = task.load_processor(str(folder))
    read = _ids(task, processor, found.rows, labels)
    description = json.loads(path.read_text(encoding="utf-8"))
    kept = needed(description, {number for row in read for number in row})
    copy_beside(folder, out)
    for pattern in STALE:
        for stale in out.glob(pattern):
            stale.unlink()
    (out / TOKENIZER).write_text(json.dumps(trimmed(description, kept), ensure_ascii=False), encoding="utf-8")
    new = {old: at for at, old in enumerate(kept)}
    _mend(out / "tokenizer_config.json", new)
    before = table.num_embeddings
    _write(model, table, kept, new, out)
    _compare(folder, out, task, labels, found.rows, read, kept)
    return Trimmed(before, len(kept), len(found.rows))


def _write(model: Any, table: nn.Embedding, kept: Sequence[int], new: Mapping[int, int], out: Path) -> None:
    padding = None if table.padding_idx is None else new.get(table.padding_idx)
    smaller = nn.Embedding(len(kept), table.embedding_dim, padding_idx=padding, dtype=table.weight.dtype)
    with torch.no_grad():
        smaller.weight.copy_(table.weight[list(kept)])
    model.set_input_embeddings(smaller)
    config = model.config.get_text_config()
    config.vocab_size = len(kept)
    for one in {id(part): part for part in (model.config, config, getattr(model, "generation_config", None))}.values():
        for name, value in list(vars(one).items()) if one is not None else ():
            if name.endswith("_token_id") and value is not None:
                setattr(one, name, new.get(value) if isinstance(value, int) else [new[old] for old in value])
    with quiet():
        model.save_pretrained(out)


def _mend(path: Path, new: Mapping[int, int]) -> None:
    """Numbers of added tokens, which some write beside tokenizer.json too."""
    if not path.is_file():
        return
    settings = json.loads(path.read_text(encoding="utf-8"))
    if "added_tokens_decoder" in settings:
        tokens = settings["added_tokens_decoder"]
        settings["added_tokens_decoder"] = {str(new[int(old)]): token for old, token in tokens.items()}
    if isinstance(settings.get("pad_token_id"), int):
        settings["pad_token_id"] = new[settings["pad_token_id"]]
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")


def _compare(
    folder: Path, out: Path, task: Task, labels: Sequence[str], rows: Sequence[Any], read: list[list[int]],
    kept: Sequence[int],
) -> None:  # fmt: skip
    """Check that the rows are cut as before, and that the model says the same of them.

    Raises:
        UserError: it is not so.
    """
    processor = task.load_processor(str(out))
    again = [[kept[number] for number in row] for row in _ids(task, processor, rows, labels)]
    if wrong := sum(before != after for before, after in zip(read, again, strict=True)):
        raise UserError(
            f"{wrong} of {len(rows)} rows are cut otherwise by the trimmed tokenizer of {folder}: its vocabulary "
            "cannot be trimmed."
        )
    logits = []
    for place in (folder, out):
        model, own = _load(place, task, labels), task.load_processor(str(place))
        few = task.encode(rows[:COMPARED], own, labels, min(positions(model), getattr(own, "model_max_length", 512)))
        batch = merge([pack(few, range(len(few)))], task.padding(own))
        with torch.inference_mode():
            logits.append(model(**task.inputs(batch)).logits)
    if not (error := float((logits[0] - logits[1]).abs().max())) <= LARGEST_ERROR:
        raise UserError(
            f"{folder} answers otherwise with fewer sub-words, by {error:.2g}: something beside its embeddings goes by "
            "their numbers. Its vocabulary cannot be trimmed."
        )


def _ids(task: Task, processor: Any, rows: Sequence[Any], labels: Sequence[str]) -> list[list[int]]:
    """The sub-words of whole rows, by number."""
    return [one.columns["input_ids"].tolist() for one in task.encode(rows, processor, labels, ANY_LENGTH)]


def _load(folder: Path, task: Task, labels: Sequence[str]) -> nn.Module:
    options = task.model_options(labels)
    return load_model(str(folder), auto_class=task.auto_class, dtype="float32", seed=0, **options).eval()
