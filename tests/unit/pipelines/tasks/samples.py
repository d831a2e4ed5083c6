"""For every task a few rows, a tiny model, and the form in which transformers takes its labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.data.examples import (
    Chat,
    Document,
    LabelledText,
    Message,
    Picture,
    Question,
    Sound,
    TaggedSentence,
    Translated,
)
from pipelines.tasks.task import Task
from tests.tiny import write_model
from tests.tiny_lm import write_lm
from tests.tiny_media import pixels, recording, write_vit, write_wav2vec2

Batch = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Sample:
    rows: Sequence[Any]
    labels: Sequence[str] = ()
    plain_labels: Callable[[Batch], Tensor] = lambda batch: batch["labels"]
    """What the model of transformers takes as `labels`."""
    own_loss: Callable[[Any, Batch], Tensor] | None = None
    """Of its output, where transformers computes the loss in float32 whatever the model's precision is."""
    write: Callable[[Path], Path] = lambda folder: write_model(folder, layers=2, dropout=0.0)
    """Writes a model and its tokenizer."""
    length: int = 64
    apart: bool = True
    """Whether rows may be in any micro-batches: not where they are compared with each other."""
    cut: bool = True
    """Whether what is too long of it is cut by sub-words."""

    def plain_loss(self, model: nn.Module, inputs: Batch, batch: Batch) -> Tensor:
        if self.own_loss is not None:
            return self.own_loss(model(**inputs), batch)
        loss: Tensor = model(**inputs, labels=self.plain_labels(batch)).loss
        return loss


def next_token_loss(output: Any, batch: Batch) -> Tensor:
    return F.cross_entropy(output.logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())


def span_loss(output: Any, batch: Batch) -> Tensor:
    """One row after the other, without the padding."""
    losses = []
    for row, length in enumerate(batch["attention_mask"].sum(-1).tolist()):
        begin, end = batch["labels"][row]
        losses += [F.cross_entropy(output.start_logits[row, :length], begin)]
        losses += [F.cross_entropy(output.end_logits[row, :length], end)]
    return torch.stack(losses).mean()


def nearest_loss(output: Any, batch: Batch) -> Tensor:
    """One pair after the other."""
    mask = torch.cat([batch["attention_mask"][..., 0], batch["attention_mask"][..., 1]]).bool()
    means = [states[there].mean(0) for states, there in zip(output.last_hidden_state, mask, strict=True)]
    half = len(means) // 2
    losses = []
    for i in range(half):
        cosines = [F.cosine_similarity(means[i], other, dim=0) / 0.05 for other in means[half:]]
        losses.append(torch.stack(cosines).logsumexp(0) - cosines[i])
    return torch.stack(losses).mean()


SAMPLES = {
    "token-classification": Sample(
        [
            TaggedSentence(("Ann", "left", "Oslo"), ("B-PER", "O", "B-LOC")),
            TaggedSentence(("it", "rains"), ("O", "O")),
            TaggedSentence(("Bob", "Lee"), ("B-PER", "I-PER")),
        ],
        ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"],
    ),
    "sequence-classification": Sample(
        [
            LabelledText("Ann left", None, ("go",)),
            LabelledText("it rains there", None, ("rain",)),
            LabelledText("Bob", None, ("go",)),
        ],
        ["go", "rain", "stay"],
        lambda batch: batch["labels"][:, 0],
    ),
    "multi-label-classification": Sample(
        [
            LabelledText("Ann left", None, ("go", "Ann")),
            LabelledText("it rains", None, ()),
            LabelledText("Ann", None, ("Ann",)),
        ],
        ["Ann", "go", "rain"],
        lambda batch: batch["labels"].double(),
    ),
    "regression": Sample(
        [
            LabelledText("good", None, (), 4.5),
            LabelledText("not so good", None, (), -1.0),
            LabelledText("", None, (), 0.0),
        ],
        plain_labels=lambda batch: batch["labels"].double(),
    ),
    "question-answering": Sample(
        [
            Question("who left", "Ann left Oslo", (("Ann", 0), ("Ann left", 0))),
            Question("where", "it rains in New York", (("New York", 12),)),
            Question("who", "it rains", ()),
        ],
        own_loss=span_loss,
    ),
    "sentence-embedding": Sample(
        [
            LabelledText("Ann left", "Oslo"),
            LabelledText("it rains there", "Rome"),
            LabelledText("", "in Lima it rains"),
        ],
        own_loss=nearest_loss,
        apart=False,
    ),
    "masked-lm": Sample(
        [Document("Ann lives in Oslo ."), Document(""), Document("in Rome it rains")],
        write=lambda folder: write_lm(folder, "bert"),
    ),
    "causal-lm": Sample(
        [
            Chat((Message("user", "Where is Ann?"), Message("assistant", "In Oslo."))),
            Document("it rains"),
            Document(""),
        ],
        own_loss=next_token_loss,
        write=lambda folder: write_lm(folder, "gpt2"),
    ),
    "seq2seq-lm": Sample(
        [Translated("Ann is in Oslo.", "Ann ist in Oslo."), Translated("", "x"), Translated("it rains", "")],
        write=lambda folder: write_lm(folder, "t5"),
    ),
    "image-classification": Sample(
        [Picture(pixels(n, 9 + n), label, f"row {n}") for n, label in enumerate(("cat", "dog", "cat"))],
        ["cat", "dog"],
        lambda batch: batch["labels"][:, 0],
        write=write_vit,
        cut=False,
    ),
    "audio-classification": Sample(
        [Sound(recording(n, 900 + 170 * n), label, f"row {n}") for n, label in enumerate(("cat", "dog", "cat"))],
        ["cat", "dog"],
        lambda batch: batch["labels"][:, 0],
        write=write_wav2vec2,
        cut=False,
    ),
}


def model_of(task: Task, sample: Sample, folder: Path) -> nn.Module:
    """The sample's model with a new head, in float64."""
    torch.manual_seed(0)
    model: nn.Module = task.auto_class.from_pretrained(folder, dtype=torch.float64, **task.model_options(sample.labels))
    return model.eval()
