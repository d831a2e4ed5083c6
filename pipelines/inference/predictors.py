"""Predictors by the task that a model was trained for. A new one is a file beside this one, and one line here."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import UserError
from pipelines.inference.answer_predictor import AnswerPredictor
from pipelines.inference.class_predictor import LabelPredictor, LabelsPredictor, NumberPredictor
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.facts import FILE, read_facts
from pipelines.inference.mask_predictor import MaskPredictor
from pipelines.inference.media_predictor import AudioPredictor, ImagePredictor
from pipelines.inference.predictor import Predictor
from pipelines.inference.text_predictor import ChatPredictor, TranslationPredictor
from pipelines.inference.vector_predictor import VectorPredictor

PREDICTORS: dict[str, type[Predictor]] = {
    "token-classification": EntityPredictor,
    "sequence-classification": LabelPredictor,
    "multi-label-classification": LabelsPredictor,
    "regression": NumberPredictor,
    "question-answering": AnswerPredictor,
    "sentence-embedding": VectorPredictor,
    "masked-lm": MaskPredictor,
    "causal-lm": ChatPredictor,
    "seq2seq-lm": TranslationPredictor,
    "image-classification": ImagePredictor,
    "audio-classification": AudioPredictor,
}
DEFAULT = "token-classification"
"""What a model without a task.json is taken for."""


def predictor_class(folder: Path) -> type[Predictor]:
    """What answers for the model in a folder.

    Raises:
        UserError: a task that nothing answers for.
    """
    task = read_facts(folder).get("task", DEFAULT)
    if task not in PREDICTORS:
        raise UserError(
            f"{folder / FILE} says that the model was trained for {task!r}, which cannot be served; known: "
            f"{', '.join(PREDICTORS)}."
        )
    return PREDICTORS[task]


def load_predictor(folder: Path, *, device: str = "cpu", threads: int) -> Predictor:
    """The model in a folder written by `save_pretrained`; `threads` holds for torch in this whole process.

    Raises:
        UserError: no model there, weights that are not safetensors, no fast tokenizer, or a task without a predictor.
    """
    return predictor_class(folder).load(folder, device=device, threads=threads)
