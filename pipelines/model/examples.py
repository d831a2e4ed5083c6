"""Inputs of several lengths made from a model's configuration: no tokenizer, no data, any head.

What a model takes is read from the signature of its forward; sizes come from its configuration and the
configurations inside it. Each micro-batch has another number of rows and, where the model takes any
length, another length, so that nothing that holds for one shape only goes unnoticed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.errors import UserError

TEXT_HEADS = ("token-classification", "sequence-classification", "question-answering", "causal-lm", "masked-lm",
              "seq2seq-lm")  # fmt: skip
HEADS = (*TEXT_HEADS, "image-classification", "audio-classification")
IGNORED = -100
"""The label of a position that has none."""

_ROWS, _LENGTHS, _TARGET_LENGTHS = (2, 3, 1), (7, 5, 9), (6, 4, 8)
_IMAGE_SIZE = 64


def example_batches(model: nn.Module, head: str, *, count: int = 3, seed: int = 0) -> list[dict[str, Tensor]]:
    """`count` micro-batches of keyword arguments for the model's forward, with its labels.

    Raises:
        UserError: an argument that the model needs and that is not known how to make.
    """
    if head not in HEADS:
        raise ValueError(f"unknown head {head!r}: choose one of {', '.join(HEADS)}")
    draw = _Draw(model, head, torch.Generator().manual_seed(seed))
    make = draw.images if head == "image-classification" else draw.audio if head == "audio-classification" else None
    batches = []
    for i in range(count):
        batch = (make or draw.text)(i)
        for name in draw.required:
            if name not in batch:
                raise draw.unknown(name)
        batches.append(batch)
    return batches


def num_targets(batch: Mapping[str, Tensor], head: str) -> int:
    """How many valid targets the head's own mean loss is taken over.

    Raises:
        UserError: answers of which only the start, or only the end, lies in the text.
    """
    if "start_positions" in batch:
        # Heads leave out a position behind the text, and take one mean over the starts and one over the ends.
        starts, ends = (batch[name] < batch["input_ids"].shape[1] for name in ("start_positions", "end_positions"))
        if not torch.equal(starts, ends):
            raise UserError(
                f"{int((starts != ends).sum())} answers of a micro-batch have their start or their end, but not both, "
                "behind the text that the model sees. Put both positions of such an answer behind it."
            )
        return int(starts.sum())
    if head == "question-answering":
        return len(batch["input_ids"])
    labels = batch["labels"]
    if head in ("token-classification", "masked-lm", "seq2seq-lm"):
        return int((labels != IGNORED).sum())
    # The first label of a causal model is no target: nothing comes before it.
    return int((labels[:, 1:] != IGNORED).sum()) if head == "causal-lm" else len(labels)


class _Draw:
    """Draws what one model's forward takes."""

    def __init__(self, model: nn.Module, head: str, generator: torch.Generator) -> None:
        self._name, self._head, self._generator = type(model).__name__, head, generator
        self._config: Any = model.config
        self._dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
        # A batch norm has no variance over one value a channel.
        self._least_rows = 2 if any("BatchNorm" in type(module).__name__ for module in model.modules()) else 1
        parameters = inspect.signature(model.forward).parameters
        self._takes = frozenset(parameters)
        self._main = str(getattr(model, "main_input_name", "input_ids"))
        self.required = [
            name
            for name, p in parameters.items()
            if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]

    def unknown(self, argument: str) -> UserError:
        return UserError(
            f"{self._name} cannot be tried out: its forward needs {argument}. Made up so far are text, images, audio "
            "and boxes, of the sizes that the model's configuration names. Train it uncut, with plan.stages=1."
        )

    def text(self, i: int) -> dict[str, Tensor]:
        """Ids [rows, length], their mask, and labels. The last rows are padded at their ends."""
        rows = max(self._least_rows, _ROWS[i % len(_ROWS)])
        length = self._fixed_length() or _LENGTHS[i % len(_LENGTHS)]
        masked = "attention_mask" in self._takes
        lengths = torch.tensor([length - r % 3 if masked else length for r in range(rows)])
        valid = torch.arange(length)[None] < lengths[:, None]
        ids = self._ids(rows, length)
        end = self._special("eos_token_id")
        if self._head == "sequence-classification" and end is not None:
            # Some heads read the state of the last end-of-sequence token, which every row has to have.
            ids[torch.arange(rows), lengths - 1] = end
        pad = self._special("pad_token_id")
        ids[~valid] = 0 if pad is None else pad
        batch = {"input_ids": ids} | ({"attention_mask": valid.long()} if masked else {})
        return batch | self._beside_text(rows, length) | self._text_labels(i, ids, lengths, valid)

    def _text_labels(self, i: int, ids: Tensor, lengths: Tensor, valid: Tensor) -> dict[str, Tensor]:
        rows, length = ids.shape
        if self._head == "sequence-classification":
            return {"labels": self._classes(rows)}
        if self._head == "question-answering" and "start_positions" not in self._takes:
            return {"labels": self._integers(0, self._size("labels", "num_qa_labels", "num_labels"), rows)}
        if self._head == "question-answering":
            # Behind position 0, which stands for "no answer" in some heads.
            starts = torch.cat([self._integers(1, int(n), 1) for n in lengths])
            ends = torch.cat([self._integers(int(s), int(n), 1) for s, n in zip(starts, lengths, strict=True)])
            return {"start_positions": starts, "end_positions": ends}
        if self._head == "seq2seq-lm" and "decoder_input_ids" in self._takes:
            target_length = _TARGET_LENGTHS[i % len(_TARGET_LENGTHS)]
            target_lengths = torch.tensor([target_length - r % 3 for r in range(rows)])
            labels = self._ids(rows, target_length)
            return {"labels": labels.masked_fill(torch.arange(target_length)[None] >= target_lengths[:, None], IGNORED)}
        if self._head == "token-classification":
            labels = self._integers(0, self._num_labels(), rows, length)
        else:
            labels = ids.clone() if self._head != "masked-lm" else self._ids(rows, length)
        target = valid & (torch.rand(rows, length, generator=self._generator) < 0.7)
        target[:, 1] = True
        # Some causal heads shift the labels and some do not: without a first label both count the same.
        target[:, 0] &= self._head not in ("causal-lm", "seq2seq-lm")
        return {"labels": labels.masked_fill(~target, IGNORED)}

    def _beside_text(self, rows: int, length: int) -> dict[str, Tensor]:
        """What some models want to know of a text besides its ids."""
        makers: dict[str, Callable[[], Tensor]] = {
            "bbox": lambda: self._boxes(rows, length),
            "lang_ids": lambda: torch.zeros(rows, dtype=torch.long),
            "image": lambda: self._pixels(rows),
            "global_attention_mask": lambda: (torch.arange(length) == 0).long().expand(rows, -1),
            "visual_feats": lambda: self._floats(rows, 3, self._size("visual_feats", "visual_feat_dim")),
            "visual_pos": lambda: self._floats(rows, 3, self._size("visual_pos", "visual_pos_dim")),
        }
        # Where the text has to hold a place for the image, text alone will do.
        if self._find("image_token_id", "image_token_index") is None:
            makers["pixel_values"] = makers["image"]
        return {name: make() for name, make in makers.items() if name in self._takes}

    def images(self, i: int) -> dict[str, Tensor]:
        """Pixels [rows, channels, height, width], in patches where the model wants patches, and labels [rows]."""
        rows = max(self._least_rows, _ROWS[i % len(_ROWS)])
        labels = {"labels": self._classes(rows)}
        if "spatial_shapes" in self._takes:
            return self._patches(rows) | labels
        if "pixel_values" in self._takes:
            return {"pixel_values": self._pixels(rows)} | labels
        return {"input_ids": self._ids(rows, _LENGTHS[i % len(_LENGTHS)])} | labels

    def audio(self, i: int) -> dict[str, Tensor]:
        """A waveform [rows, samples] or features of its frames, their mask where lengths may differ, labels [rows]."""
        rows, frames = max(self._least_rows, _ROWS[i % len(_ROWS)]), 2 * _LENGTHS[i % len(_LENGTHS)]
        labels = {"labels": self._classes(rows)}
        lengths = torch.tensor([frames - r % 3 for r in range(rows)])
        strides, kernels = self._find("conv_stride"), self._find("conv_kernel")
        if self._main == "input_values" and strides is not None:
            # As many samples as the convolutions make this many frames of.
            for stride, kernel in zip(reversed(strides), reversed(kernels), strict=True):
                lengths = (lengths - 1) * stride + kernel
            values = self._floats(rows, int(lengths.max()))
        elif self._main == "input_values":
            length, size = self._size("input_values", "max_length"), self._size("input_values", "num_mel_bins")
            return {"input_values": self._floats(rows, length, size)} | labels
        elif (width := self._find("feature_projection_input_dim")) is not None:
            values = self._floats(rows, frames, int(width))
        else:
            # The convolutions before the encoder halve the number of frames, which is the same for all.
            size, length = self._size(self._main, "num_mel_bins"), 2 * self._size(self._main, "max_source_positions")
            return {self._main: self._floats(rows, size, length)} | labels
        mask = torch.arange(values.shape[1])[None] < lengths[:, None]
        return {self._main: values, "attention_mask": mask.long()} | labels

    def _patches(self, rows: int) -> dict[str, Tensor]:
        """Images of several shapes, already cut into patches and padded to the same number of them."""
        most, size = self._size("pixel_values", "num_patches"), self._size("pixel_values", "patch_size")
        side = isqrt(most)
        shapes = torch.tensor([[side, max(1, side - r % 3)] for r in range(rows)])
        mask = torch.arange(most)[None] < shapes.prod(1)[:, None]
        values = self._floats(rows, most, int(self._find("num_channels", default=3)) * size**2)
        return {"pixel_values": values, "pixel_attention_mask": mask.long(), "spatial_shapes": shapes}

    def _pixels(self, rows: int) -> Tensor:
        size = self._find("image_size", "img_size", "input_size", default=_IMAGE_SIZE)
        height, width = size[:2] if isinstance(size, (list, tuple)) else (size, size)
        return self._floats(rows, int(self._find("num_channels", "in_channels", default=3)), int(height), int(width))

    def _boxes(self, rows: int, length: int) -> Tensor:
        """Boxes x0, y0, x1, y1 with x0 < x1 and y0 < y1, [rows, length, 4]; whole numbers where they are looked up."""
        most = int(self._find("max_2d_position_embeddings", default=1000))
        low, high = self._integers(0, most // 2, rows, length, 2), self._integers(most // 2, most, rows, length, 2)
        boxes = torch.cat([low, high], -1)
        return boxes if self._find("max_2d_position_embeddings") is not None else boxes.to(self._dtype) / most

    def _classes(self, rows: int) -> Tensor:
        count = self._num_labels()
        if getattr(self._config, "problem_type", None) == "multi_label_classification":
            return self._integers(0, 2, rows, count).to(self._dtype)
        return self._floats(rows) if count == 1 else self._integers(0, count, rows)

    def _ids(self, rows: int, length: int) -> Tensor:
        """Ordinary tokens: none that the configuration gives a meaning."""
        sizes = [self._find(name) for name in ("vocab_size", "src_vocab_size", "tgt_vocab_size", "decoder_vocab_size")]
        vocab = min((int(size) for size in sizes if size), default=256)
        special = {value for config in _configs(self._config) for value in _special_ids(config)}
        ordinary = torch.tensor([k for k in range(min(vocab, 4096)) if k not in special])
        return ordinary[self._integers(0, len(ordinary), rows, length)]

    def _fixed_length(self) -> int | None:
        """The length of every text, for a model whose outputs have positions of their own."""
        return self._size("inputs", "max_position_embeddings") if self._main == "inputs" else None

    def _special(self, name: str) -> int | None:
        value = self._find(name)
        value = value[0] if isinstance(value, (list, tuple)) else value
        return None if value is None or int(value) < 0 else int(value)

    def _num_labels(self) -> int:
        return int(self._config.num_labels)

    def _size(self, argument: str, *names: str) -> int:
        """The first of these settings, without which `argument` cannot be made."""
        value = self._find(*names)
        if value is None:
            raise self.unknown(argument)
        return int(value)

    def _find(self, *names: str, default: Any = None) -> Any:
        """The first of these settings that the configuration, or else one inside it, has."""
        for config in _configs(self._config):
            for name in names:
                if (value := getattr(config, name, None)) is not None:
                    return value
        return default

    def _integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=self._generator)

    def _floats(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator, dtype=self._dtype)


def _configs(config: Any) -> Iterator[Any]:
    """A configuration and those inside it, the text's before the others."""
    yield config
    inner = {name: value for name, value in vars(config).items() if hasattr(value, "model_type")}
    for name in sorted(inner, key=lambda name: "text" not in name):
        yield from _configs(inner[name])


def _special_ids(config: Any) -> Iterator[int]:
    for name, value in vars(config).items():
        if name.endswith(("token_id", "token_index", "token_ids")):
            yield from (v for v in (value if isinstance(value, (list, tuple)) else (value,)) if isinstance(v, int))
