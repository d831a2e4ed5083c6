"""Elastic weight consolidation: by hand, beside a plain loop, and on any cut."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipelines.config import TrainConfig, from_overrides
from pipelines.continual_settings import EwcConfig
from pipelines.errors import UserError
from pipelines.train.elastic import ANCHOR, IMPORTANCE, Elastic
from pipelines.train.importance import Importance, Squares, check_ewc, write_importance
from pipelines.train.loss_scale import LossScale
from pipelines.train.optimizers import learning_rate
from pipelines.train.resume import lasting
from tests.unit.pipelines.one_process import OneProcess, micro_batches, tiny

STEPS = 4
STRENGTH = 30.0


def train_config(*, ewc: bool = True, **changes: object) -> TrainConfig:
    held = EwcConfig(importance="of no matter here", strength=STRENGTH) if ewc else None
    return TrainConfig(**({"learning_rate": 1e-2, "warmup": 0.2, "clip": 0.5, "ewc": held} | changes))


def importance_of(model: nn.Module) -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(5)
    return {name: torch.rand(p.shape, generator=chance, dtype=p.dtype) for name, p in model.named_parameters()}


def held_back(model: nn.Module) -> dict[str, Tensor]:
    anchors = {f"{name}/{ANCHOR}": p.detach() for name, p in model.named_parameters()}
    return anchors | {f"{name}/{IMPORTANCE}": value for name, value in importance_of(model).items()}


def start(model: nn.Module, *, cut: list[int], train: TrainConfig, dtype: str = "float32") -> OneProcess:
    run = OneProcess(model, cut=cut, train=train, dtype=dtype, num_steps=STEPS)
    for stage in run.stages if train.ewc is not None else ():
        stage.restore(held_back(model))
    return run


@cache
def trained(*cut: int, ewc: bool = True) -> tuple[list[float], dict[str, Tensor]]:
    run = start(tiny("bert"), cut=list(cut), train=train_config(ewc=ewc))
    return [run.step(n, batches) for n, batches in enumerate(micro_batches(STEPS))], run.weights()


# -- the penalty --------------------------------------------------------------------------------


def one_parameter() -> tuple[nn.Parameter, Elastic]:
    parameter = nn.Parameter(torch.tensor([3.0, 1.0, -1.0]))
    elastic = Elastic(4.0, {"w": parameter})
    elastic.take("w", ANCHOR, torch.tensor([1.0, 1.0, 1.0]))
    elastic.take("w", IMPORTANCE, torch.tensor([0.5, 8.0, 0.25]))
    return parameter, elastic


def test_the_gradient_is_strength_times_importance_times_how_far_a_weight_has_gone() -> None:
    parameter, elastic = one_parameter()
    parameter.grad = torch.tensor([10.0, 20.0, 30.0])
    # 4 * 0.5 * 2 = 4; 4 * 8 * 0 = 0; 4 * 0.25 * -2 = -2. The penalty: (4 * 2 + -2 * -2) / 2 = 6.
    assert elastic.pull(None) == [6.0]
    assert parameter.grad.tolist() == [14.0, 20.0, 28.0]


def test_a_weight_that_no_example_moves_is_pulled_at_all_the_same() -> None:
    parameter, elastic = one_parameter()
    elastic.pull(None)
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [4.0, 0.0, -2.0]


def test_a_scaled_loss_has_a_penalty_that_is_scaled_alike_and_told_unscaled() -> None:
    parameter, elastic = one_parameter()
    assert elastic.pull(LossScale(1024.0)) == [6.0]
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [4096.0, 0.0, -2048.0]


# -- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [(3,), (4,), (1, 2, 5)], ids=str)
def test_every_cut_gives_bitwise_equal_losses_and_weights(cut: tuple[int, ...]) -> None:
    (losses, weights), (plain_losses, plain) = trained(*cut), trained()
    assert losses == plain_losses
    assert [name for name in plain if not torch.equal(weights[name], plain[name])] == []


def test_weights_that_matter_stay_nearer_to_where_they_were() -> None:
    begun = dict(tiny("bert").named_parameters())

    def gone(weights: dict[str, Tensor]) -> float:
        return sum(float((weights[name] - begun[name].detach()).square().sum()) for name in weights)

    assert gone(trained()[1]) < gone(trained(ewc=False)[1]) / 2


@cache
def in_a_plain_loop() -> tuple[list[float], dict[str, Tensor]]:
    """The penalty as Kirkpatrick et al. write it, its gradient by autograd."""
    train, model = train_config(optimizer="sgd"), tiny("bert", dropout=0.0, dtype=torch.float64)
    anchors = {name: p.detach().clone() for name, p in model.named_parameters()}
    importance = importance_of(model)
    # Not Adam, which makes steps of the rounding noise that is an attention key bias' only gradient but the penalty's.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=train.betas[0])
    losses = []
    for n, batches in enumerate(micro_batches(STEPS)):
        counts = [int((batch["labels"] != -100).sum()) for batch in batches]
        loss = sum(model(**b).loss * c for b, c in zip(batches, counts, strict=True) if c) / sum(counts)
        for name, p in model.named_parameters():
            loss = loss + STRENGTH / 2 * (importance[name] * (p - anchors[name]) ** 2).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip or 0.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(n, STEPS, train)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, {name: p.detach() for name, p in model.named_parameters()}


@pytest.mark.parametrize("cut", [[], [3], [2, 6]], ids=str)
def test_a_cut_model_learns_what_a_plain_loop_learns(cut: list[int]) -> None:
    model = tiny("bert", dropout=0.0, dtype=torch.float64)
    run = start(model, cut=cut, train=train_config(optimizer="sgd"), dtype="float64")
    losses = [run.step(n, batches) for n, batches in enumerate(micro_batches(STEPS))]
    plain_losses, plain = in_a_plain_loop()
    assert losses == pytest.approx(plain_losses, rel=1e-10)
    weights = run.weights()
    for name, value in plain.items():
        difference = (weights[name] - value).abs().max() / value.abs().max().clamp(min=1e-30)
        assert difference.item() <= 1e-10, name


def test_what_holds_weights_back_is_in_no_checkpoint_and_handed_to_whoever_takes_a_stages_place() -> None:
    (stage,) = start(tiny("bert"), cut=[], train=train_config()).stages
    assert not any("ewc" in name for name, _ in stage.named_moments())
    assert stage.held_back().keys() == held_back(tiny("bert")).keys()
    (plain,) = start(tiny("bert"), cut=[], train=train_config(ewc=False)).stages
    assert plain.held_back() == {}


def test_a_run_is_another_with_another_strength_and_the_same_as_before_without() -> None:
    held = ["train.ewc.importance=x", "train.ewc.strength=2"]
    assert lasting(from_overrides(held))["train"]["ewc"] == {"importance": "x", "strength": 2.0}
    assert "ewc" not in lasting(from_overrides([]))["train"]


# -- what mattered ------------------------------------------------------------------------------


def squares_of(cut: list[int]) -> dict[str, Tensor]:
    """Of three examples."""
    run = OneProcess(tiny("bert", dropout=0.0, dtype=torch.float64), cut=cut, train=train_config(ewc=False),
                     dtype="float64")  # fmt: skip
    sums = [Squares() for _ in run.stages]
    for n, (batch, *_) in enumerate(micro_batches(3)):
        run.step(n, [batch], update=False)
        for stage, own in zip(run.stages, sums, strict=True):
            own.add(stage.named_gradients())
            stage.forget_gradients()
    return {name: value for own in sums for name, value in own.named()}


def test_importance_is_the_mean_of_squared_gradients_example_by_example_on_any_cut(tmp_path: Path) -> None:
    model = tiny("bert", dropout=0.0, dtype=torch.float64)
    wanted = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for batch, *_ in micro_batches(3):
        model.zero_grad()
        model(**batch).loss.backward()
        for name, p in model.named_parameters():
            assert p.grad is not None
            wanted[name] += p.grad**2 / 3
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    for number, cut in enumerate([[], [3], [2, 6]]):
        path = tmp_path / f"{number}.safetensors"
        write_importance(path, squares_of(cut).items(), examples=3, shapes=shapes)
        found = dict(Importance(path, shapes).named(shapes))
        for name, value in wanted.items():
            assert (found[name] - value).abs().max() <= 1e-10 * value.abs().max().clamp(min=1e-30), name
    digests = {Importance(tmp_path / f"{number}.safetensors", shapes).digest for number in range(3)}
    assert len(digests) == 1


def test_earlier_sets_add_up_and_what_never_had_a_gradient_did_not_matter(tmp_path: Path) -> None:
    shapes = {"a": (2,), "b": (1,)}
    write_importance(tmp_path / "1", {"a": torch.tensor([2.0, 4.0])}.items(), examples=2, shapes=shapes)
    first = Importance(tmp_path / "1", shapes)
    sums = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([6.0])}
    write_importance(tmp_path / "2", sums.items(), examples=3, shapes=shapes, earlier=[first])
    found = dict(Importance(tmp_path / "2", shapes).named(["a", "b"]))
    assert {name: value.tolist() for name, value in found.items()} == {"a": [2.0, 2.0], "b": [2.0]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_file_of_another_model_or_none_at_all_is_told(tmp_path: Path) -> None:
    write_importance(tmp_path / "it", {"a": torch.ones(2)}.items(), examples=1, shapes={"a": (2,)})
    with pytest.raises(UserError, match=r"does not belong to this model: a is \(2,\) there, and \(3,\)"):
        Importance(tmp_path / "it", {"a": (3,)})
    with pytest.raises(UserError, match="b is missing there"):
        Importance(tmp_path / "it", {"a": (2,), "b": (1,)})
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        Importance(tmp_path / "text", {})
    with pytest.raises(UserError, match="There is no file or folder"):
        Importance(tmp_path / "gone", {})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["plan.servers=1"], r"does not go together with plan\.servers"),
        (["plan.strategy=data"], r"does not go together with plan\.strategy=data"),
        ([], "There is no file or folder nowhere"),
        (["train.ewc.importance=."], "is no file"),
    ],
)
def test_what_it_does_not_go_together_with_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_ewc(from_overrides(["train.ewc={importance: nowhere, strength: 1}", *overrides]))


@pytest.mark.parametrize("wrong", ["train.ewc.strength=0", "train.ewc.strength=-1", "train.ewc.strength=.inf"])
def test_a_strength_that_there_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(UserError, match=r"train\.ewc\.strength"):
        from_overrides(["train.ewc.importance=x", wrong])
