"""What anyone gets without a transformer: each a function of the run's config, which answers with its test score."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sacrebleu.metrics.chrf import CHRF
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer

from pipelines.config import Config
from pipelines.data.examples import IGNORE, Array, Encoded, Table
from pipelines.data.read import read_split
from pipelines.report.answers import overlap
from pipelines.report.entities import entity_report
from pipelines.report.retrieval import ranks, retrieval_report
from pipelines.tasks import make_task
from pipelines.tasks.settings import TaskSettings
from pipelines.tasks.task import Task


def majority(config: Config) -> float:
    """Always the label that train has most."""
    (train, test) = (_rows(config, split) for split in ("train", "test"))
    (most, _), *_ = Counter(row["label"] for row in train).most_common()
    return float(np.mean([row["label"] == most for row in test]))


def tf_idf_logistic_regression(config: Config) -> float:
    """Words and pairs of words, weighed by TF-IDF; accuracy."""
    train, test = (_rows(config, split) for split in ("train", "test"))
    inputs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(inputs, LogisticRegression(C=10, max_iter=2000))
    model.fit([row["text"] for row in train], [row["label"] for row in train])
    return float(model.score([row["text"] for row in test], [row["label"] for row in test]))


def tf_idf_ridge(config: Config) -> float:
    """The same inputs, linear regression with a penalty; Pearson's correlation."""
    train, test = (_rows(config, split) for split in ("train", "test"))
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), Ridge())
    model.fit([row["text"] for row in train], [row["score"] for row in train])
    said = model.predict([row["text"] for row in test])
    return float(np.corrcoef(said, [row["score"] for row in test])[0, 1])


def tf_idf_retrieval(config: Config) -> float:
    """The cosine of words and pairs of words, weighed by TF-IDF; nDCG of the first ten."""
    train, test = (_rows(config, split) for split in ("train", "test"))
    inputs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    inputs.fit([row[side] for row in train for side in ("text", "answer")])
    both = np.stack([inputs.transform([row[side] for row in test]).toarray() for side in ("text", "answer")], 1)
    return retrieval_report(ranks([row["answer"] for row in test], both), 0).ndcg


def most_frequent_tag(config: Config) -> float:
    """For every word the tag that it has most in train, for new ones the most frequent of all; F1 of entities."""
    train, test = (_table(config, split).rows for split in ("train", "test"))
    tags: dict[str, Counter[str]] = defaultdict(Counter)
    for row in train:
        for word, tag in zip(row.words, row.tags, strict=True):
            tags[word][tag] += 1
    (usual, _), *_ = sum(tags.values(), Counter[str]()).most_common()
    said = [[tags[word].most_common(1)[0][0] if word in tags else usual for word in row.words] for row in test]
    return entity_report([row.tags for row in test], said).micro.f1


def usual_labels(config: Config) -> float:
    """The labels that more than half of the rows of train have; micro F1."""
    train, test = (_rows(config, split) for split in ("train", "test"))
    counts = Counter(label for row in train for label in row["labels"])
    usual = [label for label, count in counts.items() if 2 * count > len(train)]
    return _micro_f1([row["labels"] for row in test], [usual] * len(test))


def tf_idf_one_by_one(config: Config) -> float:
    """Words and pairs of words, weighed by TF-IDF, logistic regression for every label by itself; micro F1."""
    train, test = (_rows(config, split) for split in ("train", "test"))
    names = MultiLabelBinarizer()
    true = names.fit_transform([row["labels"] for row in train])
    inputs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(inputs, OneVsRestClassifier(LogisticRegression(C=10, max_iter=2000)))
    model.fit([row["text"] for row in train], true)
    said = names.inverse_transform(model.predict([row["text"] for row in test]))
    return _micro_f1([row["labels"] for row in test], said)


def usual_place(config: Config) -> float:
    """To a question the words where its answers stand most often in train, from the beginning or from the end; F1."""
    train, test = (_rows(config, split) for split in ("train", "test"))
    found: dict[str, Counter[tuple[int, int, bool]]] = defaultdict(Counter)
    for row in train:
        first, length = len(row["context"][: row["answer_start"]].split()), len(row["answer"].split())
        words = len(row["context"].split())
        found[row["question"]] += Counter([(first, length, False), (first - words, length, True)])
    scores = []
    for row in test:
        words = row["context"].split()
        (first, length, from_end), _ = (found[row["question"]] or Counter([(0, 1, False)])).most_common(1)[0]
        begin = max(0, first + len(words) if from_end else first)
        scores.append(overlap(" ".join(words[begin : begin + length]), [row["answer"]]))
    return float(np.mean(scores))


def most_frequent_token(config: Config) -> float:
    """Always the sub-word that is the target of train most often; accuracy."""
    train, test = _targets(config)
    (usual, _), *_ = Counter(token for _, token in train).most_common()
    return float(np.mean([token == usual for _, token in test]))


def bigrams(config: Config) -> float:
    """The sub-word that stands most often behind the true one before it, in the targets of train; accuracy."""
    train, test = _targets(config)
    after: dict[int, Counter[int]] = defaultdict(Counter)
    for before, token in train:
        after[before][token] += 1
    (usual, _), *_ = Counter(token for _, token in train).most_common()
    said = [after[before].most_common(1)[0][0] if before in after else usual for before, _ in test]
    return float(np.mean([a == b for a, (_, b) in zip(said, test, strict=True)]))


def copied_source(config: Config) -> float:
    """The source as it is; chrF."""
    test = _table(config, "test").rows
    return float(CHRF().corpus_score([row.source for row in test], [[row.target for row in test]]).score)


def nearest_mean_image(config: Config) -> float:
    """The label whose mean image is nearest; accuracy."""
    train, test = (_rows(config, split) for split in ("train", "test"))
    model = NearestCentroid().fit([np.ravel(row["image"]) for row in train], [row["label"] for row in train])
    said = model.predict([np.ravel(row["image"]) for row in test])
    return float(np.mean(said == np.array([row["label"] for row in test])))


def _targets(config: Config) -> list[list[tuple[int, int]]]:
    """Of train and of test each target's sub-word, behind the true one before it, as the task itself encodes them."""
    task = _task(config)
    processor = task.load_processor(config.model.source)
    found = []
    for split in ("train", "test"):
        encoded = task.encode(_table(config, split).rows, processor, (), config.data.max_length)
        found.append([pair for one in encoded for pair in _pairs(one)])
    return found


def _pairs(encoded: Encoded) -> list[tuple[int, int]]:
    labels = encoded.columns["labels"]
    true: Array = np.where(labels == IGNORE, encoded.columns["input_ids"], labels)
    return [(int(true[at - 1]), int(true[at])) for at in np.flatnonzero(labels != IGNORE)]


def _micro_f1(true: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> float:
    names = MultiLabelBinarizer().fit([*true, *said])
    return float(f1_score(names.transform(true), names.transform(said), average="micro"))


def _task(config: Config) -> Task:
    return make_task(config.train.task, settings=TaskSettings(config.train.mask_probability, seed=config.run.seed))


def _table(config: Config, split: str) -> Table[Any]:
    assert config.data.path is not None
    return read_split(config.data.path, split=split, data=config.data, kind=_task(config).kind)


def _rows(config: Config, split: str) -> list[dict[str, Any]]:
    assert config.data.path is not None
    file = Path(config.data.path) / f"{split}.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
