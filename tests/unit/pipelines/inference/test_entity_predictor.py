"""From raw text to entities, with a model whose weights are random and whose windows are short."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from pipelines.errors import UserError
from pipelines.inference.entities import Entity
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.predictor import Text
from tests.unit.pipelines.inference.conftest import LABELS, POSITIONS, MakeModel

pytestmark = pytest.mark.timeout(60)

TEXTS = ["John lives in 北京 😀 now.", "", "我住在上海", "B", "two  words", "\u200b", "a , b 👍🏽 c"]


@pytest.fixture(scope="module")
def predictor(tiny_model_folder: Path) -> EntityPredictor:
    return EntityPredictor.load(tiny_model_folder, threads=1)


def labelled(folder: Path, words: list[str]) -> list[str]:
    """The label of every word, asked of the model as training does."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForTokenClassification.from_pretrained(folder)
    encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    with torch.inference_mode():
        numbers = model(**encoded).logits[0].argmax(-1).tolist()
    ids = encoded.word_ids(0)
    return [model.config.id2label[numbers[ids.index(i)]] for i in range(len(words))]


def entities_of(predictor: EntityPredictor, *texts: str) -> list[list[Entity]]:
    return [found.entities for found in predictor.predict([Text(text) for text in texts])]


def test_offsets_are_right_to_the_character(predictor: EntityPredictor) -> None:
    found = entities_of(predictor, *TEXTS)
    assert any(found)
    for text, entities in zip(TEXTS, found, strict=True):
        for entity in entities:
            assert entity.text == text[entity.start : entity.end]
            assert entity.text == entity.text.strip() != ""
            assert 0 < entity.score <= 1
        assert [e.start for e in entities] == sorted(e.start for e in entities)


def test_words_get_the_label_of_their_first_sub_word(predictor: EntityPredictor, tiny_model_folder: Path) -> None:
    words = ["John", "met", "Ann", "in", "北", "京", "."]
    expected = labelled(tiny_model_folder, words)
    text = "John met Ann in 北京."
    spans = [(0, 4), (5, 8), (9, 12), (13, 15), (16, 17), (17, 18), (18, 19)]
    for entity in entities_of(predictor, text)[0]:
        inside = [
            label for label, (start, end) in zip(expected, spans, strict=True) if entity.start <= start < entity.end
        ]
        assert {label.partition("-")[2] for label in inside} == {entity.type}
    outside = [label for label in expected if label == "O"]
    found = entities_of(predictor, text)[0]
    covered = sum(entity.start <= start < entity.end for entity in found for start, _ in spans)
    assert covered == len(words) - len(outside)


def test_results_come_in_the_order_of_the_texts(predictor: EntityPredictor) -> None:
    together = entities_of(predictor, *TEXTS)
    for text, entities in zip(TEXTS, together, strict=True):
        alone = entities_of(predictor, text)[0]
        assert [(e.type, e.start, e.end) for e in entities] == [(e.type, e.start, e.end) for e in alone]
    backwards = entities_of(predictor, *TEXTS[::-1])
    assert [[e.start for e in row] for row in backwards[::-1]] == [[e.start for e in row] for row in together]


def test_no_text_has_no_entities(predictor: EntityPredictor) -> None:
    assert predictor.predict([]) == []
    assert entities_of(predictor, "", " \n") == [[], []]


def test_half_a_surrogate_pair_is_read_as_unknown(predictor: EntityPredictor) -> None:
    assert len(predictor.predict([Text("\ud800 x")])) == 1


def test_nothing_of_a_long_text_is_cut_off(make_model: MakeModel) -> None:
    # Without the label O every word is in an entity, so a missing word would show.
    folder = make_model(labels=("B-A", "B-B", "B-C", "B-D", "B-E"))
    text = " ".join(f"w{i}" for i in range(10 * POSITIONS))
    found = entities_of(EntityPredictor.load(folder, threads=1), text, "x")[0]
    assert [entity.text for entity in found] == text.split()


def test_a_word_longer_than_a_window_is_one_word(make_model: MakeModel) -> None:
    folder = make_model(labels=("B-A", "B-B", "B-C", "B-D", "B-E"))
    text = f"a {'x' * 20 * POSITIONS} b"
    found = entities_of(EntityPredictor.load(folder, threads=1), text)[0]
    assert [entity.text for entity in found] == text.split()


def test_neighbouring_windows_share_a_quarter(tiny_model_folder: Path) -> None:
    predictor = EntityPredictor.load(tiny_model_folder, threads=1)
    (reading,) = predictor.read([Text("a " * 100)])
    assert [(window.first, window.stop) for window in reading.pieces] == [
        (0, 30),
        (23, 53),
        (46, 76),
        (69, 99),
        (92, 100),
    ]


def test_the_models_folder_decides_about_punctuation(make_model: MakeModel) -> None:
    labels = ("B-A", "B-B", "B-C", "B-D", "B-E")
    attached = EntityPredictor.load(make_model(labels=labels, punctuation="attached"), threads=1)
    assert [entity.text for entity in entities_of(attached, "Main St., 5")[0]] == ["Main", "St.,", "5"]


def test_labels_without_names_do_not_crash(make_model: MakeModel) -> None:
    predictor = EntityPredictor.load(make_model(labels=None), threads=1)
    assert predictor.labels == [f"LABEL_{i}" for i in range(len(LABELS))]
    assert entities_of(predictor, "John in York")[0]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        EntityPredictor.load(tmp_path, threads=1)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "training_args.PT", "deep/model.pkl"])
def test_a_folder_with_a_pickle_is_refused(make_model: MakeModel, name: str) -> None:
    folder = make_model()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(UserError, match=name):
        EntityPredictor.load(folder, threads=1)
