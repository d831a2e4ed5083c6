"""Which runs a sequence of data sets is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config import Config, from_overrides, load_config
from pipelines.continual.runs import check_continual, names_of, run_of
from pipelines.distil_settings import DistilConfig
from pipelines.errors import UserError
from pipelines.preflight import preflight

SETS = "continual.sets=[a/first, b/second, hub:x/third]"
FOLDER = Path("/runs/seq")


def configs(*overrides: str) -> list[Config]:
    config = from_overrides([SETS, *overrides])
    return [run_of(config, k, folder=FOLDER, labels=["one", "two"]) for k in range(3)]


def test_every_run_starts_from_the_model_of_the_one_before() -> None:
    runs = configs("model=some/model")
    assert [run.model.source for run in runs] == ["some/model", "/runs/seq/set-1/model", "/runs/seq/set-2/model"]
    assert [run.run.output for run in runs] == ["/runs/seq/set-1", "/runs/seq/set-2", "/runs/seq/set-3"]
    assert [run.data.path for run in runs] == ["a/first", "b/second", "hub:x/third"]
    assert {run.data.labels for run in runs} == {("one", "two")}
    assert [run.data.replay for run in runs] == [None, None, None]
    assert {run.continual for run in runs} == {None}


def test_replay_mixes_in_rows_of_all_sets_before() -> None:
    replays = [run.data.replay for run in configs("continual.method=replay", "continual.kept=7", "run.seed=3")]
    assert replays[0] is None
    assert [(r.sets, r.kept, r.seed) for r in replays if r is not None] == [
        (("a/first",), 7, 3),
        (("a/first", "b/second"), 7, 3),
    ]


def test_each_run_but_the_first_has_the_model_of_the_one_before_as_its_teacher() -> None:
    taught = [run.train.distil for run in configs("continual.method=lwf", "continual.temperature=3")]
    assert taught == [
        None,
        DistilConfig(teacher="/runs/seq/set-1/model", temperature=3),
        DistilConfig(teacher="/runs/seq/set-2/model", temperature=3),
    ]


@pytest.mark.parametrize("overrides", [("continual.method=replay",), ("continual.method=lwf",)], ids=["replay", "lwf"])
def test_a_run_can_be_written_and_read_as_a_config(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    for run in configs(*overrides):
        (tmp_path / "config.yaml").write_text(run.to_yaml(), encoding="utf-8")
        assert load_config(str(tmp_path / "config.yaml")) == run


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "There is nothing to learn in turn"),
        ([SETS, "data.path=x"], r"data\.path has no effect beside continual\.sets"),
        ([SETS, "data.labels=[a]"], r"data\.labels has no effect beside"),
        ([SETS, "continual.kept=5"], r"continual\.kept=5 has no effect with continual\.method=none"),
        ([SETS, "continual.weight=0.5"], r"continual\.weight=0\.5 has no effect with continual\.method=none"),
        ([SETS, "continual.method=lwf", "train.task=regression"], "regression is none of them: use another method"),
        ([SETS, "continual.method=lwf", "train.distil.teacher=x"], "every run has the model of the one before"),
        ([SETS, "continual.method=lwf", "data.memory=64MB"], "it would hold a teacher as well"),
        ([SETS, "adapter=lora"], "An adapter does not go together"),
        ([SETS, "checkpoint.resume=runs/x"], r"checkpoint\.resume=runs/x is one run's"),
        ([SETS, "run.output=x"], r"run\.output is one run's"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_continual(from_overrides(overrides))


@pytest.mark.parametrize(
    "wrong", ["continual.sets=[one]", "continual.kept=0", "continual.method=magic", "continual.weight=1"]
)
def test_values_that_there_cannot_be_are_refused(wrong: str) -> None:
    with pytest.raises(UserError, match=wrong.split("=")[0].replace(".", r"\.")):
        from_overrides([SETS, wrong])


def test_a_single_run_does_not_leave_the_section_out_silently() -> None:
    with pytest.raises(UserError, match=r"Start it with `python -m jobs\.continual`"):
        preflight(from_overrides([SETS]))


def test_sets_are_called_by_their_last_part_and_by_number_where_two_are_alike() -> None:
    assert names_of(["a/cards", "b/cards/", "hub:x/other"]) == ["cards (1)", "cards (2)", "other"]
