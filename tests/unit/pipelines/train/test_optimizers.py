import pytest
import torch
from torch import nn

from pipelines.config import TrainConfig
from pipelines.errors import UserError
from pipelines.train.optimizers import check_optimizer, learning_rate, make_optimizer


def rates(decay: str, num_steps: int = 10) -> list[float]:
    train = TrainConfig.model_validate({"learning_rate": 1.0, "warmup": 0.2, "decay": decay})
    return [round(learning_rate(step, num_steps, train), 3) for step in range(num_steps)]


def test_the_rate_rises_then_falls_in_a_line() -> None:
    assert rates("linear") == [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]


def test_the_rate_stays_or_follows_the_cosine() -> None:
    assert rates("constant") == [0.0, 0.5] + [1.0] * 8
    assert rates("cosine")[2:] == [1.0, 0.962, 0.854, 0.691, 0.5, 0.309, 0.146, 0.038]


def test_biases_do_not_decay() -> None:
    layer = nn.Linear(2, 3)
    optimizer = make_optimizer(layer.named_parameters(), TrainConfig(weight_decay=0.1))
    assert [(group["weight_decay"], [p.ndim for p in group["params"]]) for group in optimizer.param_groups] == [
        (0.1, [2]),
        (0.0, [1]),
    ]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_every_optimizer_takes_a_step(name: str) -> None:
    layer = nn.Linear(2, 3)
    before = layer.weight.detach().clone()
    optimizer = make_optimizer(layer.named_parameters(), TrainConfig(optimizer=name))
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert not torch.equal(before, layer.weight)


def test_an_unknown_optimizer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no optimizer 'adam' \(train.optimizer\); known: adamw, sgd"):
        check_optimizer(TrainConfig(optimizer="adam"))
