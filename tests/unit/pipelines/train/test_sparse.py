"""Training an embedding table by rows is training it whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipelines.config import TrainConfig
from pipelines.train.optimizers import make_optimizer
from pipelines.train.sparse import RowTable, by_rows

ROWS, WIDTH = 40, 16
LOOKED_UP = [[3, 3, 7], [7, 20], [39, 0, 3], [5, 5, 5, 1], [30, 31, 32, 33, 34]]


def embedding() -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(ROWS, WIDTH)


def train_config(optimizer: str) -> TrainConfig:
    return TrainConfig(optimizer=optimizer)


class Dense:
    """The plain way: a dense gradient of the whole table."""

    def __init__(self, optimizer: str) -> None:
        self.layer = embedding()
        self.optimizer = make_optimizer([("table", self.layer.weight)], train_config(optimizer))

    def step(self, rows: list[int]) -> None:
        backward(self.layer, rows)
        update(self.optimizer)


class ByRows:
    def __init__(self, optimizer: str) -> None:
        self.layer = embedding()
        self.layer.sparse = True
        self.table = RowTable(self.layer.weight)
        self.optimizer = make_optimizer([("table", self.table.packed)], train_config(optimizer))

    def step(self, rows: list[int]) -> torch.Tensor:
        backward(self.layer, rows)
        values = self.table.collect(self.optimizer).clone()
        update(self.optimizer)
        self.table.write_back()
        return values


def backward(layer: nn.Embedding, rows: list[int]) -> None:
    weights = torch.arange(1.0, len(rows) * WIDTH + 1).view(len(rows), WIDTH)
    (layer(torch.tensor(rows)) * weights).sum().backward()


def update(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "lion"])
def test_rows_are_trained_bitwise_as_in_the_whole_table(optimizer: str) -> None:
    dense, rows = Dense(optimizer), ByRows(optimizer)
    for looked_up in LOOKED_UP:
        dense.step(looked_up)
        rows.step(looked_up)
        assert torch.equal(rows.layer.weight, dense.layer.weight)


def test_only_rows_that_were_looked_up_are_held_and_moments_are_those_of_the_whole_table() -> None:
    dense, rows = Dense("adamw"), ByRows("adamw")
    for looked_up in LOOKED_UP:
        dense.step(looked_up)
        rows.step(looked_up)
    assert rows.table.packed.shape == (len({row for looked_up in LOOKED_UP for row in looked_up}), WIDTH)
    mine, plain = rows.table.moments(rows.optimizer.state[rows.table.packed]), dense.optimizer.state[dense.layer.weight]
    assert mine.keys() == plain.keys()
    assert all(torch.equal(mine[key], plain[key]) for key in plain)


def test_a_table_that_takes_up_moments_goes_on_as_if_it_had_not_stopped() -> None:
    whole, first, second = ByRows("adamw"), ByRows("adamw"), ByRows("adamw")
    for looked_up in LOOKED_UP[:3]:
        whole.step(looked_up)
        first.step(looked_up)
    moments = first.table.moments(first.optimizer.state[first.table.packed])
    with torch.no_grad():
        second.layer.weight.copy_(first.layer.weight)
    second.optimizer.state[second.table.packed] = second.table.take_moments(moments, second.optimizer)
    for looked_up in LOOKED_UP[3:]:
        assert torch.equal(second.step(looked_up), whole.step(looked_up))
    assert torch.equal(second.layer.weight, whole.layer.weight)


def test_the_rows_of_the_gradient_come_in_the_order_of_the_table() -> None:
    rows = ByRows("sgd")
    rows.step([7])
    values = rows.step([9, 7, 2])
    expected = torch.arange(1.0, 3 * WIDTH + 1).view(3, WIDTH)[[2, 1, 0]]
    assert torch.equal(values, expected)


@pytest.mark.parametrize(
    ("size", "weight_decay", "found"),
    [((2048, 16), 0.0, 1), ((2048, 16), 0.1, 0), ((2048, 10), 0.0, 0), ((100, 16), 0.0, 0)],
)
def test_only_large_tables_without_decay_are_trained_by_rows(
    size: tuple[int, int], weight_decay: float, found: int
) -> None:
    assert len(by_rows(nn.Sequential(nn.Embedding(*size)), weight_decay=weight_decay)) == found
