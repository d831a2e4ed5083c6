"""Tasks by name."""

from pipelines.errors import UserError
from pipelines.tasks.audio_classification import AudioClassification
from pipelines.tasks.causal_lm import CausalLM
from pipelines.tasks.cross_entropy import PLAIN, CrossEntropy
from pipelines.tasks.image_classification import ImageClassification
from pipelines.tasks.masked_lm import MaskedLM
from pipelines.tasks.question_answering import QuestionAnswering
from pipelines.tasks.sentence_embedding import SentenceEmbedding
from pipelines.tasks.seq2seq_lm import Seq2SeqLM
from pipelines.tasks.sequence_classification import MultiLabelClassification, Regression, SequenceClassification
from pipelines.tasks.settings import USUAL, TaskSettings
from pipelines.tasks.task import Task
from pipelines.tasks.token_classification import TokenClassification

TASKS: dict[str, type[Task]] = {
    "token-classification": TokenClassification,
    "sequence-classification": SequenceClassification,
    "multi-label-classification": MultiLabelClassification,
    "regression": Regression,
    "question-answering": QuestionAnswering,
    "sentence-embedding": SentenceEmbedding,
    "masked-lm": MaskedLM,
    "causal-lm": CausalLM,
    "seq2seq-lm": Seq2SeqLM,
    "image-classification": ImageClassification,
    "audio-classification": AudioClassification,
}


def make_task(name: str, loss: CrossEntropy = PLAIN, settings: TaskSettings = USUAL) -> Task:
    """The task that `train.task` names, with the settings of its loss and its own.

    Raises:
        UserError: an unknown name.
    """
    if name not in TASKS:
        raise UserError(f"There is no task {name!r} (train.task); known: {', '.join(TASKS)}.")
    return TASKS[name](loss, settings)
