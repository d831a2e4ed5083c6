"""A model that is computed elsewhere, here by a copy of it, answers as it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipelines.inference.chat_writer import End
from pipelines.inference.elsewhere import LAST, Answers, compute_elsewhere, together
from pipelines.inference.predictors import PREDICTORS, load_predictor
from pipelines.tasks import make_task
from tests.unit.pipelines.inference.test_every_predictor import INPUTS, near, saved

pytestmark = pytest.mark.timeout(120)


class Copy:
    """Computes row by row, and remembers what it was asked."""

    def __init__(self, name: str, folder: Path) -> None:
        task = make_task(name)
        self._model = load_predictor(folder, threads=1).network
        self.takes = tuple(task.probe(task.load_processor(str(folder))))
        self.asked: list[tuple[int, bool]] = []

    def __call__(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        head, rows = Answers(), len(next(iter(columns.values())))
        self.asked.append((rows, LAST in columns))
        found = []
        for row in range(rows):
            batch = {name: column[row : row + 1] for name, column in columns.items()}
            found += head.answers(self._model(**head.inputs(batch)), batch)
        return together(found)


@pytest.mark.parametrize("name", PREDICTORS)
def test_every_predictor_answers_as_before_and_holds_no_weights(name: str, tmp_path: Path) -> None:
    folder = saved(name, tmp_path)
    predictor, copy = load_predictor(folder, threads=1), Copy(name, folder)
    expected = [asdict(one) for one in predictor.predict(INPUTS[name])]
    compute_elsewhere(predictor.network, copy, takes=copy.takes)
    assert near([asdict(one) for one in predictor.predict(INPUTS[name])], expected)
    assert copy.asked
    assert all(parameter.device == torch.device("meta") for parameter in predictor.network.parameters())
    assert predictor.explainer() is None


def test_who_writes_asks_for_the_last_sub_word_alone_and_writes_the_same(tmp_path: Path) -> None:
    folder = saved("causal-lm", tmp_path)
    predictor, copy = load_predictor(folder, threads=1), Copy("causal-lm", folder)
    said = list[str]()

    def written() -> tuple[End, str]:
        said.clear()
        writer = predictor.writer()
        assert writer is not None
        prompt, most = writer.prompt([{"role": "user", "content": "Where is Ann?"}], 6)
        return writer.write(prompt, most, lambda piece: not said.append(piece)), "".join(said)

    expected = written()
    compute_elsewhere(predictor.network, copy, takes=copy.takes)
    assert written() == expected
    assert set(copy.asked) == {(1, True)}
