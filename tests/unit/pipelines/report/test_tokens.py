import json
import math

import numpy as np
import pytest
import torch

from pipelines.report.tokens import token_report
from pipelines.tasks.token_scores import token_scores

# Of three sub-words with the probabilities 1/2, 1/4, 1/4.
LOGITS = torch.log(torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)).expand(2, 3, 3)
TARGETS = torch.tensor([[0, 2, -100], [-100, -100, -100]])


def test_a_row_tells_what_it_lost_how_many_were_right_and_how_many_there_were() -> None:
    first, second = token_scores(LOGITS, TARGETS)
    assert first == pytest.approx([math.log(8), 1, 2])
    assert second.tolist() == [0, 0, 0]


def test_perplexity_and_accuracy_are_of_all_targets_together() -> None:
    report = token_report([np.array([math.log(8), 1, 2]), np.array([math.log(4), 0, 1]), np.array([0.0, 0, 0])])
    assert report.accuracy == report.score == pytest.approx(1 / 3)
    assert report.perplexity == pytest.approx(32 ** (1 / 3))
    assert report.targets == 3


def test_figures_are_numbers_whatever_they_come_from() -> None:
    assert json.loads(json.dumps(token_report([np.array([1e9, 0, 1])]).to_json()))["perplexity"] < math.inf
    assert token_report([np.zeros(3)]).metrics("dev") == {"dev/accuracy": 0.0, "dev/loss": 0.0, "dev/perplexity": 1.0}
