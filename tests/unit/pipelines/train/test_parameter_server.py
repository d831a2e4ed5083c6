"""One parameter server by itself: literals."""

from __future__ import annotations

import pytest
import torch

from pipelines.config import TrainConfig
from pipelines.train.parameter_server import ParameterServer, ServerSpec
from pipelines.train.parameter_shards import Piece
from pipelines.train.shares import Part, WaveNumbers, as_message, from_message
from tests.unit.pipelines.one_process import CPU

TRAIN = TrainConfig(optimizer="sgd", betas=(0.0, 0.9), learning_rate=1.0, warmup=0.0, decay="constant", clip=None)


def server(*, tables: frozenset[str] = frozenset()) -> ParameterServer:
    """Owns rows 1 to 3 of a parameter of four rows, which are 10, 20 and 30."""
    spec = ServerSpec(
        0,
        1,
        (Piece("w", 1, 4, (3, 1)),),
        tables,
        "float32",
        TRAIN,
        num_steps=9,
        version=0,
        in_order=True,
        copy_every=10,
        settled=True,
        rates={},
    )
    made = ParameterServer(spec, CPU)
    made.load({"w": torch.tensor([[0.0], [10.0], [20.0], [30.0]])})
    made.check_loaded()
    return made


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def numbers(stage: int = 0, *, num_waves: int = 2, num_stages: int = 1) -> WaveNumbers:
    return WaveNumbers(0, num_waves, stage, num_stages)


def test_a_step_is_whole_with_its_last_wave_and_then_the_weights_change() -> None:
    own = server()
    assert own.push(0, 1, numbers(), [(0, column(1, 2, 3))]) is None
    assert own.missing() == "wave 0 of step 0, wave 1 of step 0 (stages [0] sent theirs)"
    assert own.push(0, 0, numbers(), [(0, column(2, 1, 0))]) == pytest.approx([27.0])
    report = own.update(0, norm=5.0)
    assert (report.version, report.step, report.grad_norm, report.staleness) == (1, 0, 5.0, (0, 0))
    assert dict(own.named_weights())["w[1:4]"].flatten().tolist() == [7.0, 17.0, 27.0]


def test_waves_are_added_in_their_order_whoever_comes_first() -> None:
    # In float32 1e8 + 3 + 3 is 1e8, and 3 + 3 + 1e8 is not.
    parts = {0: column(1e8, 0, 0), 1: column(3, 0, 0), 2: column(3, 0, 0)}
    results = []
    for order in ([0, 1, 2], [2, 1, 0]):
        own = server()
        for wave in order:
            own.push(0, wave, numbers(num_waves=3), [(0, parts[wave].clone())])
        own.update(0, norm=1.0)
        results.append(dict(own.named_weights())["w[1:4]"][0].item())
    assert results == [-99999992.0, -99999992.0]


def test_a_parameter_that_two_stages_use_is_summed_over_them() -> None:
    own = server()
    assert own.push(0, 0, numbers(1, num_waves=1, num_stages=2), [(0, column(1, 1, 1))]) is None
    assert own.push(0, 0, numbers(0, num_waves=1, num_stages=2), [(0, column(2, 2, 2))]) is not None
    own.update(0, norm=1.0)
    assert dict(own.named_weights())["w[1:4]"].flatten().tolist() == [7.0, 17.0, 27.0]


def test_of_a_table_trained_by_rows_only_what_was_ever_looked_up_comes_back() -> None:
    own = server(tables=frozenset({"w"}))
    rows: Part = (torch.tensor([1]), column(5))
    own.push(0, 0, numbers(), [(0, rows)])
    # Another replica, cut otherwise, sends the whole table.
    own.push(0, 1, numbers(), [(0, column(0, 0, 2))])
    own.update(0, norm=1.0)
    ((at, (seen, values)),) = own.values([0])
    assert at == 0
    assert dict(zip(seen.tolist(), values.flatten().tolist(), strict=True)) == {1: 15, 2: 28}
    assert dict(own.named_weights())["w[1:4]"].flatten().tolist() == [10.0, 15.0, 28.0]


def test_a_message_arrives_as_it_was_sent() -> None:
    parts: list[tuple[int, Part]] = [(3, column(1, 2)), (5, (torch.tensor([7]), column(9)))]
    sent, arrived = from_message(as_message([4, 2], parts))
    assert sent == [4, 2]
    assert [at for at, _ in arrived] == [3, 5]
    assert torch.equal(arrived[0][1], column(1, 2))
    assert [tensor.tolist() for tensor in arrived[1][1]] == [[7], [[9.0]]]
