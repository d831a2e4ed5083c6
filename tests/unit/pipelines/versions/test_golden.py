"""Golden sets: what is read, what is refused, and what a version must answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import UserError
from pipelines.inference.batcher import Overloaded
from pipelines.inference.class_predictor import LabelPredictor, TextOrPair
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.predictor import Text
from pipelines.inference.registry import LOCAL, ModelRef
from pipelines.versions.golden import Failed, Golden, check, check_forms, find_golden, read_golden
from tests.unit.pipelines.versions.lanes import FakeLane, Other


def written(path: Path, *lines: Any) -> Path:
    path = path / "golden.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_an_input_is_read_as_the_endpoint_reads_it(tmp_path: Path) -> None:
    place = {"entities": [{"type": "LOC", "start": 13, "end": 19}]}
    path = written(tmp_path, {"input": "Ada moved to Berlin.", "output": place}, "", {"input": {"text": "Nobody."}})
    assert read_golden(path, EntityPredictor) == [
        Golden(Text("Ada moved to Berlin."), place),
        Golden(Text("Nobody.")),
    ]
    path = written(tmp_path, {"input": {"text": "a", "pair": "b"}, "output": {"label": "x"}})
    assert read_golden(path, LabelPredictor) == [Golden(TextOrPair("a", "b"), {"label": "x"})]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "holds nothing"),
        (["Ada"], "Line 1 of the golden set .* is not of the form"),
        ([{"input": "a"}, ["Ada"]], "Line 2"),
        ([{"input": "Ada", "expected": {}}], "Line 1"),
        ([{"input": {"txt": "Ada"}}], "input in line 1 .* is none of this model"),
        ([{"input": "Ada", "output": {"label": "x"}}], "output in line 1 .* is none of this model"),
        ([{"input": "Ada", "output": {"entities": [{"type": "PER"}]}}], "output in line 1"),
        ([{"input": "Ada", "output": {"entities": "Ada"}}], "output in line 1"),
        ([{"input": "Ada", "output": 5}], "output in line 1"),
    ],
)
def test_a_line_of_another_form_is_named_and_not_repeated(tmp_path: Path, lines: list[Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        read_golden(written(tmp_path, *lines), EntityPredictor)
    assert "Ada" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.jsonl cannot be read \(FileNotFoundError\)"):
        read_golden(tmp_path / "no.jsonl", EntityPredictor)


def checked(
    candidate: FakeLane, golden: list[Golden], *, champion: FakeLane | None = None, least: float = 0.9
) -> float:
    return asyncio.run(check(candidate, champion or FakeLane(1), golden, least=least, sleep=_no_wait))


async def _no_wait(seconds: float) -> None:
    assert seconds == 3.0


def test_a_candidate_is_held_against_what_is_expected_and_else_against_the_champion() -> None:
    golden = [Golden(str(i), {"label": "odd"} if i % 2 else None) for i in range(40)]
    champion = FakeLane(1)
    right = FakeLane(2, says=lambda text: "odd" if int(text) % 2 else text)
    assert checked(right, golden, champion=champion) == 1.0
    assert max(map(len, right.asked)) == 16
    # The champion is asked nothing to which the answer is known.
    assert sorted(int(text) for inputs in champion.asked for text in inputs) == list(range(0, 40, 2))
    with pytest.raises(Failed, match=r"by 0\.500, below 0\.9"):
        checked(FakeLane(2), golden)


def test_a_candidate_must_answer_all_that_the_champion_answers() -> None:
    deaf = FakeLane(2, says=lambda text: None if text == "b" else text)
    with pytest.raises(Failed, match="fails on golden input 2"):
        checked(deaf, [Golden("a"), Golden("b")], least=0.0)
    assert checked(deaf, [Golden("a"), Golden("b")], champion=deaf) == 1.0
    assert checked(deaf, []) == 1.0


def test_a_candidate_of_another_task_is_refused() -> None:
    with pytest.raises(Failed, match="it gives Other, and the champion Said"):
        check_forms(FakeLane(2, gives=Other), FakeLane(1))


def test_while_too_much_waits_the_golden_set_waits() -> None:
    class Busy(FakeLane):
        async def answer(self, inputs: list[Any]) -> list[Any | None]:
            if not self.asked:
                self.asked.append([])
                raise Overloaded(3.0, 2.0)
            return await super().answer(inputs)

    assert checked(Busy(2), [Golden("a")]) == 1.0


def test_a_model_may_bring_its_golden_set_and_the_endpoints_wins(tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text('{"task": "sequence-classification"}')
    ref = ModelRef("m", LOCAL, str(tmp_path))
    assert find_golden(ref, file=None, tracking_uri=None) == []
    written(tmp_path, {"input": "a"})
    assert find_golden(ref, file=None, tracking_uri=None) == [Golden(TextOrPair("a"))]
    other = tmp_path / "other.jsonl"
    other.write_text('{"input": "b"}')
    assert find_golden(ref, file=str(other), tracking_uri=None) == [Golden(TextOrPair("b"))]
