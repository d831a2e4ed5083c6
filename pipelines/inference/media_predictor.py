"""Fine-tuned classifiers of images and of recordings, which come as files in base64."""

from __future__ import annotations

import base64
import binascii
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import (
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    PreTrainedModel,
)

from pipelines.data import decode_image, decode_sound
from pipelines.data.examples import Picture, Sound
from pipelines.errors import UserError
from pipelines.inference.class_predictor import Label, labels_of, likeliest
from pipelines.inference.predictor import MEDIA, Predictor, read_weights

PER_PASS = 16
"""Files that go through the model together."""
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC"
"""A PNG of one black pixel."""
SILENCE = base64.b64encode(
    b"RIFF\xec\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\xe8\x03\x00\x00\xd0\x07\x00\x00\x02\x00\x10\x00"
    b"data\xc8\x00\x00\x00" + bytes(200)
).decode()
"""A WAV file: a tenth of a second, a thousand samples a second."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    image: str = field(metadata=MEDIA)
    """The file in base64."""


@dataclass(frozen=True, slots=True)
class AudioFile:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    audio: str = field(metadata=MEDIA)
    """A WAV file of 16 bits a sample, in base64."""


class _MediaPredictor(Predictor):
    gives = Label

    def __init__(self, model: PreTrainedModel, processor: Any) -> None:
        self._model, self._processor, self._labels = model.eval(), processor, labels_of(model)

    def predict(self, inputs: Sequence[Any]) -> list[Label]:
        rows = [self._processed(given) for given in inputs]
        found: dict[int, Label] = {}
        for numbers in _together(rows):
            made = {name: torch.stack([rows[n][name] for n in numbers]) for name in rows[numbers[0]]}
            with torch.inference_mode():
                logits = self._model(**{name: one.to(self._model.device) for name, one in made.items()}).logits
            found.update(zip(numbers, (likeliest(row, self._labels) for row in logits.float().cpu()), strict=True))
        return [found[n] for n in range(len(inputs))]

    @abstractmethod
    def _processed(self, given: Any) -> dict[str, Tensor]:
        """What the model reads of one input."""


class ImagePredictor(_MediaPredictor):
    takes, hello = ImageFile, ImageFile(PIXEL)
    asks = "Says which label an image has."
    example: ClassVar = ({"image": PIXEL}, {"label": "night", "score": 0.9, "scores": {"night": 0.9, "day": 0.1}})

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> ImagePredictor:
        model = read_weights(folder, AutoModelForImageClassification, device=device, threads=threads)
        # By name, as in training: which one is taken must not depend on what else is installed.
        return cls(model, AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil"))

    @classmethod
    def refuses(cls, given: ImageFile) -> str | None:
        return _trouble(lambda: decode_image.decode(_picture(given)))

    def _processed(self, given: ImageFile) -> dict[str, Tensor]:
        return _first(self._processor(images=[decode_image.decode(_picture(given))], return_tensors="pt"))


class AudioPredictor(_MediaPredictor):
    """A recording is heard as far as the model's feature extractor takes it."""

    takes, hello = AudioFile, AudioFile(SILENCE)
    asks = "Says which label a recording has."
    example: ClassVar = ({"audio": SILENCE}, {"label": "rain", "score": 0.9, "scores": {"rain": 0.9, "wind": 0.1}})

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> AudioPredictor:
        model = read_weights(folder, AutoModelForAudioClassification, device=device, threads=threads)
        return cls(model, AutoFeatureExtractor.from_pretrained(folder, local_files_only=True))

    @classmethod
    def refuses(cls, given: AudioFile) -> str | None:
        return _trouble(lambda: decode_sound.decode(_sound(given), decode_sound.SLOWEST))

    def _processed(self, given: AudioFile) -> dict[str, Tensor]:
        rate = self._processor.sampling_rate
        samples = decode_sound.decode(_sound(given), rate)
        return _first(self._processor(samples, sampling_rate=rate, return_tensors="pt"))


def _together(rows: Sequence[dict[str, Tensor]]) -> list[list[int]]:
    """Numbers of inputs of one size: nothing is padded, so that no answer depends on another's input."""
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for n, row in enumerate(rows):
        groups.setdefault(tuple(tuple(one.shape) for one in row.values()), []).append(n)
    return [same[at : at + PER_PASS] for same in groups.values() for at in range(0, len(same), PER_PASS)]


def _first(made: Any) -> dict[str, Tensor]:
    """Of a batch of one."""
    return {name: values[0] for name, values in made.items()}


def _picture(given: ImageFile) -> Picture:
    return Picture(_bytes(given.image), "", "the input")


def _sound(given: AudioFile) -> Sound:
    return Sound(_bytes(given.audio), "", "the input")


def _bytes(written: str) -> bytes:
    try:
        return base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError):
        raise UserError("the input: the file is not in base64. Encode its bytes, without line breaks.") from None


def _trouble(decoded: Callable[[], object]) -> str | None:
    try:
        decoded()
    except UserError as error:
        return str(error)
    return None
