"""The contrastive loss: by its formula, beside a plain loop, and on any cut."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from pipelines.config import TrainConfig, from_overrides
from pipelines.errors import UserError
from pipelines.model.pretrained import Pretrained
from pipelines.model.units import find_units
from pipelines.preflight import preflight
from pipelines.recipe_settings import ContrastiveConfig
from pipelines.tasks import TASKS, make_task
from pipelines.tasks.contrastive import check_representation, contrastive_sum
from pipelines.tasks.cross_entropy import PLAIN, CrossEntropy
from pipelines.tasks.settings import TaskSettings
from pipelines.tasks.task import Task
from pipelines.train.resume import lasting
from tests.tiny import write_model
from tests.unit.pipelines.one_process import Batch, OneProcess, micro_batches, probe

WEIGHT, TEMPERATURE, STEPS = 0.25, 0.3, 3
LAYERS = {
    "bert": lambda model: model.classifier,
    "roberta": lambda model: model.classifier.out_proj,
    "gpt2": lambda model: model.score,
}
"""The classification layers of some models; GPT-2's scores every sub-word, and the last one counts."""


def task_of(loss: CrossEntropy = PLAIN) -> Task:
    settings = TaskSettings(contrastive=ContrastiveConfig(weight=WEIGHT, temperature=TEMPERATURE))
    return make_task("sequence-classification", loss, settings)


def classifier(family: str, *, dropout: float = 0.1, dtype: torch.dtype = torch.float32) -> nn.Module:
    sizes: dict[str, Any] = {
        "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64,
        "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout,
    }  # fmt: skip
    if family == "gpt2":
        sizes = {
            "n_embd": 32, "n_layer": 3, "n_head": 2, "n_positions": 64, "use_cache": False, "bos_token_id": 1,
            "eos_token_id": 1, "resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout,
        }  # fmt: skip
    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(family, **sizes, vocab_size=60, pad_token_id=0, num_labels=3)
    model = transformers.AutoModelForSequenceClassification.from_config(config, dtype=dtype)
    with torch.no_grad():
        # Biases away from 0, as in every pretrained model.
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return model.train()


def batches_of(num_steps: int) -> list[list[Batch]]:
    """Four micro-batches of two to six rows in each step."""
    chance = torch.Generator().manual_seed(4)
    steps = micro_batches(num_steps)
    for batch in (batch for step in steps for batch in step):
        for name in ("input_ids", "attention_mask"):
            batch[name] = torch.cat([batch[name], batch[name].roll(1, 0)])
        batch["labels"] = torch.randint(0, 3, (len(batch["input_ids"]), 1), generator=chance)
    return steps


# -- the formula --------------------------------------------------------------------------------


def by_the_paper(vectors: Tensor, labels: list[int], temperature: float) -> list[float]:
    """Of each row, as equation 3 is written."""
    rows = [row / math.sqrt(sum(x * x for x in row)) for row in vectors.double()]
    found = []
    for i, own in enumerate(labels):
        others = [k for k in range(len(labels)) if k != i]
        alike = [j for j in others if labels[j] == own]
        total = sum(math.exp(rows[i] @ rows[k] / temperature) for k in others)
        logs = [math.log(math.exp(rows[i] @ rows[j] / temperature) / total) for j in alike]
        found.append(-sum(logs) / len(alike) if alike else 0.0)
    return found


@pytest.mark.parametrize("labels", [[0, 1, 0, 1, 0], [0, 0, 0], [0, 1, 2], [2, 2], [1]], ids=str)
def test_the_loss_is_that_of_the_paper_and_rows_without_a_like_have_none(labels: list[int]) -> None:
    vectors = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows = by_the_paper(vectors, labels, 0.3)
    assert contrastive_sum(vectors, torch.tensor(labels), 0.3, None).item() == pytest.approx(sum(rows), rel=1e-12)
    weights = torch.arange(1.0, len(labels) + 1, dtype=torch.float64)
    weighted = sum(weight * row for weight, row in zip(weights.tolist(), rows, strict=True))
    found = contrastive_sum(vectors, torch.tensor(labels), 0.3, weights).item()
    assert found == pytest.approx(weighted, rel=1e-12)


@pytest.mark.parametrize("labels", [[1], [0, 1], [0, 1, 0]], ids=str)
def test_gradients_are_finite_whoever_is_alone(labels: list[int]) -> None:
    vectors = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    contrastive_sum(vectors, torch.tensor(labels), 0.05, None).backward()
    assert vectors.grad is not None
    assert bool(vectors.grad.isfinite().all())


def test_half_precision_is_computed_in_float32() -> None:
    vectors = torch.randn(4, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    labels = torch.tensor([0, 1, 0, 1])
    assert torch.equal(contrastive_sum(vectors, labels, 0.3, None), contrastive_sum(vectors.float(), labels, 0.3, None))


# -- training -----------------------------------------------------------------------------------


def in_a_plain_loop(family: str, train: TrainConfig, weights: Tensor | None) -> tuple[list[float], dict[str, Tensor]]:
    """The whole model; what goes into its classification layer is looked at from outside."""
    model = classifier(family, dropout=0.0, dtype=torch.float64)
    seen: list[Tensor] = []
    LAYERS[family](model).register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=train.learning_rate, weight_decay=0.0)
    losses = []
    for batches in batches_of(STEPS):
        labels = torch.cat([batch["labels"][:, 0] for batch in batches])
        total = float(len(labels)) if weights is None else float(weights[labels].sum())
        loss = torch.zeros((), dtype=torch.float64)
        for batch in batches:
            own = batch["labels"][:, 0]
            mask = batch["attention_mask"]
            logits = model(input_ids=batch["input_ids"], attention_mask=mask).logits
            vectors = seen.pop()
            if vectors.ndim == 3:
                vectors = vectors[torch.arange(len(own)), mask.sum(1) - 1]
            entropy = functional.cross_entropy(logits, own, weight=weights, reduction="sum")
            each = None if weights is None else weights[own]
            contrast = contrastive_sum(vectors, own, TEMPERATURE, each)
            loss = loss + ((1 - WEIGHT) * entropy + WEIGHT * contrast) / total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, {name: p.detach() for name, p in model.named_parameters()}


@pytest.mark.parametrize("cut", [[], [3], [2, 6]], ids=str)
@pytest.mark.parametrize(("family", "weights"), [("bert", (0.5, 1.0, 2.0)), ("roberta", None), ("gpt2", None)], ids=str)
def test_a_cut_model_learns_what_a_plain_loop_learns(
    family: str, weights: tuple[float, ...] | None, cut: list[int]
) -> None:
    train = TrainConfig(learning_rate=1e-3, warmup=0.0, decay="constant", clip=None)
    known = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    losses, plain = in_a_plain_loop(family, train, known)
    model = classifier(family, dropout=0.0, dtype=torch.float64)
    head, units = task_of(CrossEntropy(weights=weights)), find_units(model, probe())
    run = OneProcess(model, cut=cut, train=train, dtype="float64", head=head, units=units)
    for n, batches in enumerate(batches_of(STEPS)):
        labels = torch.cat([batch["labels"][:, 0] for batch in batches])
        total = float(len(labels)) if known is None else float(known[labels].sum())
        assert run.step(n, batches, num_targets=total) == pytest.approx(losses[n], rel=1e-10)
    found = run.weights()
    for name, value in plain.items():
        difference = (found[name] - value).abs().max() / value.abs().max().clamp(min=1e-30)
        assert difference.item() <= 1e-10, name


@pytest.mark.parametrize("options", [{}, {"recompute": True}, {"precision": "bfloat16"}], ids=str)
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_every_cut_gives_bitwise_equal_losses_and_weights_with_dropout(family: str, options: dict[str, Any]) -> None:
    learnt = []
    for cut in ([], [3], [2, 4, 6]):
        model, train = classifier(family), TrainConfig(learning_rate=1e-3, **options)
        run = OneProcess(model, cut=cut, train=train, head=task_of(), units=find_units(model, probe()))
        losses = [run.step(n, batches, num_targets=10) for n, batches in enumerate(batches_of(STEPS))]
        learnt.append((losses, run.weights()))
    for losses, weights in learnt[1:]:
        assert losses == learnt[0][0]
        assert [name for name, value in learnt[0][1].items() if not torch.equal(weights[name], value)] == []


def test_images_are_compared_by_what_goes_into_their_classification_layer_on_every_cut() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    chance = torch.Generator().manual_seed(2)
    pixels = [torch.rand(4, 3, 32, 32, generator=chance) for _ in range(2)]
    batches = [{"pixel_values": one, "labels": torch.tensor([[0], [1], [0], [2]])} for one in pixels]
    settings = TaskSettings(contrastive=ContrastiveConfig())
    learnt = []
    for task in (make_task("image-classification"), *[make_task("image-classification", settings=settings)] * 2):
        torch.manual_seed(3)
        config = transformers.ViTConfig(**sizes, image_size=32, patch_size=16, num_labels=3)
        model = transformers.ViTForImageClassification(config).train()
        check_representation(model, {"pixel_values": pixels[0]})
        units = find_units(model, {"pixel_values": pixels[0]})
        cut = [] if len(learnt) < 2 else [2]
        run = OneProcess(model, cut=cut, train=TrainConfig(), head=task, units=units)
        learnt.append([run.step(n, batches, num_targets=8) for n in range(2)])
    without, whole, pieces = learnt
    assert pieces == whole
    assert without[0] != whole[0]


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if not task.contrasts])
def test_other_tasks_refuse_it(name: str) -> None:
    with pytest.raises(UserError, match=rf"is for tasks that give a row one label, and {name} is none of them"):
        preflight(from_overrides([f"train.task={name}", "train.contrastive={}"]))


class Pooled(nn.Module):
    """Scores every sub-word, and answers with the mean of the scores."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.config = transformers.PretrainedConfig(num_labels=3)
        self.table, self.score = nn.Embedding(60, 8), nn.Linear(8, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        del attention_mask
        scores = self.score(self.table(input_ids)).mean(1)
        return transformers.modeling_outputs.SequenceClassifierOutput(logits=scores)


@pytest.mark.parametrize(("classes", "why"), [(3, "does not answer with"), (4, "no linear layer of 3 classes")])
def test_a_model_without_one_vector_a_row_is_refused(classes: int, why: str) -> None:
    with pytest.raises(UserError, match=f"Pooled has none that is known: it .*{why}|{why}"):
        check_representation(Pooled(classes), probe())


@pytest.mark.parametrize("family", LAYERS)
def test_a_model_with_one_is_left_as_it_was(family: str) -> None:
    model = classifier(family)
    check_representation(model, probe())
    assert model.training
    assert not any(layer._forward_hooks for layer in model.modules())


def test_a_run_looks_at_its_model_before_anything_is_cut(tmp_path: Path) -> None:
    source = write_model(tmp_path / "model", layers=1)
    config = from_overrides([f"model={source}", "train.task=sequence-classification", "train.contrastive={}"])
    assert Pretrained(config, task_of(), ["no", "yes"]).model_class == "BertForSequenceClassification"


@pytest.mark.parametrize("wrong", ["weight=0", "weight=1.5", "temperature=0", "temperature=.nan"])
def test_values_that_there_cannot_be_are_refused(wrong: str) -> None:
    with pytest.raises(UserError, match=r"train\.contrastive\."):
        from_overrides([f"train.contrastive.{wrong}"])


def test_a_run_with_it_is_another_run() -> None:
    assert "contrastive" not in lasting(from_overrides([]))["train"]
    found = lasting(from_overrides(["train.contrastive={}"]))["train"]["contrastive"]
    assert found == {"weight": 0.1, "temperature": 0.3}
