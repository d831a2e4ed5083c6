"""What anyone gets without a transformer: each a function of the data's folder, which answers with its test score."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from pipelines.config import DataConfig
from pipelines.data.read import read_split
from pipelines.data.tagged import TAGGED
from pipelines.report.entities import entity_report
from pipelines.report.retrieval import ranks, retrieval_report


def majority(folder: Path) -> float:
    """Always the label that train has most."""
    (train, test) = (_rows(folder, split) for split in ("train", "test"))
    (most, _), *_ = Counter(row["label"] for row in train).most_common()
    return float(np.mean([row["label"] == most for row in test]))


def tf_idf_logistic_regression(folder: Path) -> float:
    """Words and pairs of words, weighed by TF-IDF; accuracy."""
    train, test = (_rows(folder, split) for split in ("train", "test"))
    inputs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(inputs, LogisticRegression(C=10, max_iter=2000))
    model.fit([row["text"] for row in train], [row["label"] for row in train])
    return float(model.score([row["text"] for row in test], [row["label"] for row in test]))


def tf_idf_ridge(folder: Path) -> float:
    """The same inputs, linear regression with a penalty; Pearson's correlation."""
    train, test = (_rows(folder, split) for split in ("train", "test"))
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), Ridge())
    model.fit([row["text"] for row in train], [row["score"] for row in train])
    said = model.predict([row["text"] for row in test])
    return float(np.corrcoef(said, [row["score"] for row in test])[0, 1])


def tf_idf_retrieval(folder: Path) -> float:
    """The cosine of words and pairs of words, weighed by TF-IDF; nDCG of the first ten."""
    train, test = (_rows(folder, split) for split in ("train", "test"))
    inputs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    inputs.fit([row[side] for row in train for side in ("text", "answer")])
    both = np.stack([inputs.transform([row[side] for row in test]).toarray() for side in ("text", "answer")], 1)
    return retrieval_report(ranks([row["answer"] for row in test], both), 0).ndcg


def most_frequent_tag(folder: Path) -> float:
    """For every word the tag that it has most in train, for new ones the most frequent of all; F1 of entities."""
    train, test = (
        read_split(str(folder / f"{split}.conll"), split=split, data=DataConfig(), kind=TAGGED).rows
        for split in ("train", "test")
    )
    tags: dict[str, Counter[str]] = defaultdict(Counter)
    for row in train:
        for word, tag in zip(row.words, row.tags, strict=True):
            tags[word][tag] += 1
    (usual, _), *_ = sum(tags.values(), Counter[str]()).most_common()
    said = [[tags[word].most_common(1)[0][0] if word in tags else usual for word in row.words] for row in test]
    return entity_report([row.tags for row in test], said).micro.f1


def _rows(folder: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
