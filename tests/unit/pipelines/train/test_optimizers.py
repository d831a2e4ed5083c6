import pytest
import torch
from torch import Tensor, nn
from transformers.optimization import Adafactor

from pipelines.config import TrainConfig
from pipelines.errors import UserError
from pipelines.train.optimizers import (
    OPTIMIZERS,
    check_optimizer,
    learning_rate,
    make_optimizer,
    state_bytes,
    take_state,
)
from tests.unit.pipelines.one_process import OneProcess, micro_batches, tiny

ON_CPU = [name for name, known in OPTIMIZERS.items() if not known.gpu_only]


def rates(decay: str, num_steps: int = 10) -> list[float]:
    train = TrainConfig.model_validate({"learning_rate": 1.0, "warmup": 0.2, "decay": decay})
    return [round(learning_rate(step, num_steps, train), 3) for step in range(num_steps)]


def test_the_rate_rises_then_falls_in_a_line() -> None:
    assert rates("linear") == [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]


def test_the_rate_stays_or_follows_the_cosine() -> None:
    assert rates("constant") == [0.0, 0.5] + [1.0] * 8
    assert rates("cosine")[2:] == [1.0, 0.962, 0.854, 0.691, 0.5, 0.309, 0.146, 0.038]


def test_the_rate_rises_by_the_same_factor_to_the_highest() -> None:
    train = TrainConfig(learning_rate=1.0, warmup=0.0, decay="rising")
    found = [learning_rate(step, 5, train) for step in range(6)]
    assert found == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])


def test_biases_do_not_decay() -> None:
    layer = nn.Linear(2, 3)
    optimizer = make_optimizer(layer.named_parameters(), TrainConfig(weight_decay=0.1))
    assert [(group["weight_decay"], [p.ndim for p in group["params"]]) for group in optimizer.param_groups] == [
        (0.1, [2]),
        (0.0, [1]),
    ]


@pytest.mark.parametrize("name", ON_CPU)
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
    with pytest.raises(UserError, match=r"no optimizer 'adma' \(train.optimizer\); known: adamw, adam, sgd, lion, ada"):
        check_optimizer("adma")


def test_8_bit_moments_are_refused_on_a_cpu_with_what_to_use_there() -> None:
    layer = nn.Linear(2, 3)
    with pytest.raises(UserError, match=r"adamw-8bit computes on GPUs only.*devices.gpu.optimizer=adamw-8bit.* lion"):
        make_optimizer(layer.named_parameters(), TrainConfig(optimizer="adamw-8bit"))


def gradients(steps: int, *shape: int) -> list[Tensor]:
    chance = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=chance, dtype=torch.float64) for _ in range(steps)]


def run(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, given: list[Tensor], rate: float) -> Tensor:
    for gradient in given:
        for group in optimizer.param_groups:
            group["lr"] = rate
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def ours(name: str, start: Tensor, given: list[Tensor], rate: float, **settings: object) -> Tensor:
    parameter = nn.Parameter(start.clone())
    train = TrainConfig.model_validate({"optimizer": name} | settings)
    return run(make_optimizer([("w", parameter)], train), parameter, given, rate)


def test_lion_moves_by_the_sign_of_what_it_remembers_and_sees() -> None:
    given = [torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 0.0]]), torch.tensor([[-3.0, 1.0]])]
    weights = [
        ours("lion", torch.tensor([[1.0, 1.0]]), given[:steps], 0.1, betas=(0.5, 0.5), weight_decay=0.1)[0].tolist()
        for steps in (1, 2, 3)
    ]
    # Each step takes away a hundredth, and a tenth in the direction of half the gradient and half the momentum:
    # 1 for 2 and 0, then 0 for -1 and 1, then -1 for -3 and 0.
    assert weights[0] == pytest.approx([0.99 - 0.1, 0.99])
    assert weights[1] == pytest.approx([0.89 * 0.99, 0.99 * 0.99])
    assert weights[2] == pytest.approx([0.8811 * 0.99 + 0.1, 0.9801 * 0.99 - 0.1])


def test_adam_adds_the_decay_to_the_gradient_where_adamw_takes_it_from_the_weight() -> None:
    start, given = torch.ones(3, 2, dtype=torch.float64), gradients(4, 3, 2)
    settings = {"betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}
    expected, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for step, gradient in enumerate(given, start=1):
        g = gradient + 0.1 * expected
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
        expected = expected - 0.01 * (m / (1 - 0.8**step)) / ((v / (1 - 0.9**step)).sqrt() + 1e-6)
    torch.testing.assert_close(ours("adam", start, given, 0.01, **settings), expected, rtol=1e-12, atol=0)
    assert not torch.allclose(ours("adamw", start, given, 0.01, **settings), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(6, 4), (5,)], ids=["a matrix by rows and columns", "a vector by value"])
def test_adafactor_is_that_of_transformers_with_steps_relative_to_the_weights(shape: tuple[int, ...]) -> None:
    start, given = torch.linspace(0.5, 2, 24, dtype=torch.float64)[: torch.Size(shape).numel()].view(shape), []
    given = gradients(6, *shape)
    parameter = nn.Parameter(start.clone())
    theirs = Adafactor([parameter], lr=0.01, scale_parameter=True, relative_step=False)
    expected = run(theirs, parameter, given, 0.01)
    torch.testing.assert_close(ours("adafactor", start, given, 0.01), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", ON_CPU)
def test_an_optimizer_on_a_cut_model_gives_the_bits_of_the_whole_and_goes_on_from_its_saved_state(name: str) -> None:
    train = TrainConfig(optimizer=name, learning_rate=1e-3, warmup=0.0)
    model, steps = tiny("bert"), micro_batches(4, vocabulary=1100)
    # Large enough to be trained by rows where the optimizer allows it.
    model.resize_token_embeddings(1100, mean_resizing=False)
    whole, first, second = (OneProcess(model, cut=cut, train=train) for cut in ([], [2], [1, 5]))
    for number, batches in enumerate(steps):
        whole.step(number, batches)
    for number in (0, 1):
        first.step(number, steps[number])
    for stage in second.stages:
        for part in first.stages:
            stage.load({key: value for key, value in part.named_weights() if key in stage.parameters})
        for part in first.stages:
            moments = dict(part.named_moments())
            assert {key.rpartition("/")[2] for key in moments} <= OPTIMIZERS[name].state
            stage.restore(moments)
    for number in (2, 3):
        second.step(number, steps[number])
    expected, found = whole.weights(), second.weights()
    assert expected.keys() == found.keys()
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    rows = [len(stage.table_names) for stage in whole.stages]
    assert rows == ([1] if OPTIMIZERS[name].by_value else [0])


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("shape", [(7,), (6, 4), (3, 6, 4)])
def test_what_a_plan_is_told_of_an_optimizer_s_state_is_what_it_keeps(name: str, shape: tuple[int, ...]) -> None:
    parameter = nn.Parameter(torch.ones(shape))
    optimizer = make_optimizer([("w", parameter)], TrainConfig(optimizer=name))
    parameter.grad = torch.ones(shape)
    optimizer.step()
    kept = [value for value in optimizer.state[parameter].values() if value.dim()]
    assert state_bytes(name, shape, 4) == sum(value.nbytes for value in kept)


def test_8_bit_moments_take_a_quarter_of_adamw_s_and_a_scale_for_each_block() -> None:
    assert state_bytes("adamw", (64, 64), 4) == 32768
    assert state_bytes("adamw-8bit", (64, 64), 4) == 8192 + 2 * 16 * 4
    assert state_bytes("adamw-8bit", (64,), 4) == state_bytes("adamw", (64,), 4)


def test_a_count_of_steps_comes_back_as_the_number_or_the_tensor_that_it_was() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = make_optimizer([("w", weight)], TrainConfig())
    for name, value in (("adamw", torch.tensor(3.0)), ("adamw-8bit", torch.tensor(3))):
        take_state(optimizer, "w", weight, "step", value, TrainConfig(optimizer=name))
        kept = optimizer.state[weight]["step"]
        assert (kept, type(kept)) == (3, torch.Tensor if name == "adamw" else int)


def test_sgd_adds_what_is_left_of_its_last_steps() -> None:
    start, given = torch.ones(3, 2, dtype=torch.float64), gradients(4, 3, 2)
    expected, kept = start.clone(), torch.zeros_like(start)
    for gradient in given:
        kept = 0.8 * kept + gradient
        expected = expected - 0.01 * kept
    torch.testing.assert_close(ours("sgd", start, given, 0.01, betas=(0.8, 0.9)), expected, rtol=1e-12, atol=0)


def test_the_state_of_another_optimizer_is_refused_with_the_parameter_and_the_way_out() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    train = TrainConfig(optimizer="lion")
    with pytest.raises(
        UserError, match=r"a 'exp_avg' for a.weight, which lion does not keep: .*devices.*checkpoint.res"
    ):
        take_state(make_optimizer([("a.weight", weight)], train), "a.weight", weight, "exp_avg", weight, train)
