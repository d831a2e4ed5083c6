"""What every served model is: it takes some inputs and gives an output for each. One file a kind beside this one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from pipelines.adapt.adapted import ADAPTER
from pipelines.errors import UserError
from pipelines.inference.files import refuse_pickle
from pipelines.inference.network import GRAPH, GraphNetwork, Network, read_graph
from pipelines.model.sparse_file import dense_folder

if TYPE_CHECKING:
    from pipelines.inference.chat_writer import Writer
    from pipelines.inference.explain import Explainer

TOKENS_PER_PASS = 4096
"""Most padded sub-words in one pass: enough to fill a CPU's caches, small enough for any memory."""
CHARACTERS_PER_TOKEN = 4
"""For estimates only."""
LONGEST_WINDOW = 512
"""For models that name no limit of their own (relative positions): attention costs the square of this."""

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Text:
    """An input that is one text."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """An input, ready for the model."""

    given: Any
    pieces: tuple[Any, ...]
    """What goes through the model, each in a row of its own, as the predictor keeps it."""
    length: int
    """Sub-words of the longest piece; an estimate where the predictor reads only when it answers."""


class Predictor(ABC):
    """`read` may run in one thread while `answer` runs in another; neither in two at once, for tokenizers change
    their state in place."""

    takes: ClassVar[type]
    """A frozen dataclass: one input."""
    gives: ClassVar[type]
    """A frozen dataclass: one output."""
    asks: ClassVar[str]
    """What it does with an input, for the endpoint's documentation."""
    example: ClassVar[tuple[Mapping[str, Any], Mapping[str, Any]]]
    """An input and its output, as JSON."""
    hello: ClassVar[Any]
    """An input to warm it up with."""
    _model: Any

    @property
    def network(self) -> Network:
        """What it asks."""
        network: Network = self._model
        return network

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> Predictor:
        """Read a folder written by `save_pretrained`; `threads` holds for torch in this whole process.

        Raises:
            UserError: no model there, weights that are not safetensors, or no fast tokenizer.
        """

    @classmethod
    def refuses(cls, given: Any) -> str | None:  # noqa: ARG003
        """What is wrong with an input of the right form, for whoever sent it; nothing, if nothing else is said."""
        return None

    def read(self, inputs: Sequence[Any]) -> list[Reading]:
        """Do for each input all that needs no model: nothing, unless a predictor says otherwise."""
        return [Reading(given, (given,), 2 + num_characters(given) // CHARACTERS_PER_TOKEN) for given in inputs]

    def answer(self, readings: Sequence[Reading]) -> list[Any]:
        """One of `gives` for each reading, in their order."""
        return self.predict([reading.given for reading in readings])

    @abstractmethod
    def predict(self, inputs: Sequence[Any]) -> list[Any]:
        """One of `gives` for each of `takes`, in their order."""

    def explainer(self) -> Explainer | None:
        """What says why, from the same weights; None where nothing does."""
        return None

    def writer(self) -> Writer | None:
        """What writes the next message of a chat, from the same weights; None where the model learnt none."""
        return None


class ReadingPredictor(Predictor):
    """Tokenises before it is the model's turn, so that inputs of like lengths can be found and share a pass."""

    @abstractmethod
    def read(self, inputs: Sequence[Any]) -> list[Reading]: ...

    @abstractmethod
    def answer(self, readings: Sequence[Reading]) -> list[Any]: ...

    def predict(self, inputs: Sequence[Any]) -> list[Any]:
        return self.answer(self.read(inputs))

    @abstractmethod
    def sample(self, length: int) -> Reading:
        """One of about so many sub-words, at most as many as the model reads, to measure with."""


def takes_text(predictor: type[Predictor]) -> bool:
    """Whether a text alone is an input."""
    needed = [field.name for field in fields(predictor.takes) if field.default is MISSING]
    return needed == ["text"]


def takes_media(predictor: type[Predictor]) -> bool:
    """Whether an input holds a file."""
    return any(field.metadata.get("media") for field in fields(predictor.takes))


def num_characters(given: Any) -> int:
    """Of all texts in an input."""
    return sum(len(text) for text in texts_in(given))


MEDIA = {"media": True}
"""Marks a field that holds a file as base64, which is no text."""


def texts_in(given: Any) -> list[str]:
    """All texts in an input."""
    values = [getattr(given, field.name) for field in fields(given) if not field.metadata.get("media")]
    return [value for value in values if isinstance(value, str)]


def passes(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of inputs that go through the model together: of like lengths, so that little of a pass is padding."""
    together: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if together and (len(together) + 1) * lengths[i] > TOKENS_PER_PASS:
            yield together
            together = []
        together.append(i)
    if together:
        yield together


def read_network(
    folder: Path, auto_class: Any, *, device: str, threads: int
) -> tuple[Network, PreTrainedTokenizerFast]:
    """As `read_model`, or the graph in its place where the folder holds one.

    Raises:
        UserError: no model there, a graph that cannot be read, weights that are not safetensors, or no fast tokenizer.
    """
    if not (folder / GRAPH).is_file():
        return read_model(folder, auto_class, device=device, threads=threads)
    refuse_pickle(folder)
    torch.set_num_threads(threads)
    return read_graph(folder, device=device, threads=threads), _read_tokenizer(folder)


def read_model(
    folder: Path, auto_class: Any, *, device: str, threads: int, attention: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A model, ready to answer, and its tokenizer.

    Args:
        attention: which implementation of it; the model's own choice when left out.

    Raises:
        UserError: no model there, weights that are not safetensors, or no fast tokenizer.
    """
    weights = read_weights(folder, auto_class, device=device, threads=threads, attention=attention)
    return weights, _read_tokenizer(folder)


def _read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    with _no_bar():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(f"The tokenizer in {folder} is slow: save a fast one (tokenizer.json) with the model.")
    return tokenizer


def read_weights(
    folder: Path, auto_class: Any, *, device: str, threads: int, attention: str | None = None
) -> PreTrainedModel:
    """A model, ready to answer.

    Raises:
        UserError: no model there, or weights that are not safetensors or damaged.
    """
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no model: a folder written by save_pretrained (config.json) is needed.")
    refuse_pickle(folder)
    torch.set_num_threads(threads)
    with _no_bar():
        chosen = {} if attention is None else {"attn_implementation": attention}
        with dense_folder(folder) as place:
            model = auto_class.from_pretrained(place, local_files_only=True, use_safetensors=True, **chosen)
        if (folder / ADAPTER).is_dir():
            model = _with_adapter(model, folder / ADAPTER)
    ready: PreTrainedModel = model.to(device).eval()
    return ready


def longest_input(model: Network, tokenizer: PreTrainedTokenizerFast) -> int:
    """Sub-words that the model reads in one piece, special ones among them."""
    if isinstance(model, GraphNetwork):
        return model.longest
    assert isinstance(model, torch.nn.Module)
    limits = [LONGEST_WINDOW, int(min(tokenizer.model_max_length, LONGEST_WINDOW))]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # The RoBERTa family counts positions from behind the padding's own.
            taken = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - taken)
    return min(limits) - _virtual_tokens(model)


def text_of(length: int, tokenizer: PreTrainedTokenizerFast) -> str:
    """A text of about so many sub-words, with the special ones."""
    word = "a "
    each = len(tokenizer(word * 16, add_special_tokens=False, verbose=False)["input_ids"]) / 16
    return word * max(1, round((length - tokenizer.num_special_tokens_to_add(pair=False)) / each))


def readable(text: str) -> str:
    """What the tokenizer gets: half a surrogate pair is not UTF-8, and would be its panic."""
    return _SURROGATES.sub("\ufffd", text)


@contextmanager
def _no_bar() -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _with_adapter(model: PreTrainedModel, folder: Path) -> Any:
    # Imported here: few models have an adapter that cannot be worked into their weights.
    from pipelines.adapt.bottleneck import is_bottleneck, load_bottleneck

    if is_bottleneck(folder):
        return load_bottleneck(model, folder)
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(folder), use_safetensors=True)


def _virtual_tokens(model: torch.nn.Module) -> int:
    """Positions that an adapter takes."""
    configs = getattr(model, "peft_config", {})
    return sum(getattr(config, "num_virtual_tokens", None) or 0 for config in configs.values())
