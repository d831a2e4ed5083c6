"""What a survey finds in data, and how the command tells it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from jobs.data import app
from pipelines.config import Config
from pipelines.data.batches import epoch_steps
from pipelines.errors import UserError
from pipelines.survey.budget import suggest
from pipelines.survey.picture import survey_figure
from pipelines.survey.show import show
from pipelines.survey.survey import Survey, survey
from tests.tiny import write_data, write_model
from tests.tiny_media import pixels, write_vit


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("tiny") / "model", layers=1))


def config(model: str, folder: Path, **sections: dict[str, Any]) -> Config:
    data = {"path": str(folder), "scratch": str(folder)} | sections.pop("data", {})
    return Config.model_validate({"model": {"source": model}, "data": data, **sections})


def classified(folder: Path, **splits: list[tuple[str, str] | str]) -> Path:
    """Splits of texts with a label, and of lines as they are."""
    for split, rows in splits.items():
        lines = [row if isinstance(row, str) else json.dumps({"text": row[0], "label": row[1]}) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def surveyed(model: str, folder: Path, **sections: dict[str, Any]) -> Survey:
    return survey(
        config(model, folder, train={"task": "sequence-classification"} | sections.pop("train", {}), **sections)
    )


def text_of(found: Survey) -> str:
    written = io.StringIO()
    show(found, Console(width=400, file=written))
    return written.getvalue()


def test_rows_lengths_and_labels_are_counted_by_split(model: str, tmp_path: Path) -> None:
    train = [("Ann", "go"), ("Bob Lee", "stay"), ("it", "go"), ("x" * 99, "go")]
    found = surveyed(model, classified(tmp_path, train=train, dev=[("Eve", "stay")]))
    assert {name: split.num_rows for name, split in found.splits.items()} == {"train": 4, "dev": 1}
    assert found.splits["train"].labels == {"go": 3, "stay": 1}
    # [CLS] and [SEP] and a sub-word a letter, and no more than the model has positions for.
    assert found.splits["train"].lengths == [5, 8, 4, 64]
    assert found.longest == 64
    assert found.splits["train"].num_cut == 1
    assert found.splits["train"].quantiles[0.5] == 5
    assert found.refused == []
    assert "A training can use this data." in text_of(found)


def test_every_row_that_cannot_be_read_is_told_with_file_and_line_and_the_others_are_counted(
    model: str, tmp_path: Path
) -> None:
    train = [("Ann", "go"), "no JSON", ("Bob", "go"), '{"text": 5, "label": "go"}', '{"text": "Eve"}', ("it", "go")]
    found = surveyed(model, classified(tmp_path, train=train))
    split = found.splits["train"]
    assert (split.num_rows, split.num_faults, split.ended_early) == (3, 3, False)
    assert [fault.split(": ")[0] for fault in split.faults] == [f"{tmp_path}/train.jsonl, line {n}" for n in (2, 4, 5)]
    assert found.refused == ["3 rows of train cannot be read"]
    text = text_of(found)
    assert "line 4: found '5' (int) where a text belongs" in text
    assert "A training would refuse this data: 3 rows of train cannot be read." in text


def test_what_hides_all_that_is_behind_it_is_told(model: str, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(b'{"text": "Ann", "label": "go"}\n{"text": "\xff"}\n{"text": "Bob"}\n')
    split = surveyed(model, tmp_path).splits["train"]
    assert (split.num_rows, split.num_faults, split.ended_early) == (1, 1, True)
    assert "line 2: byte 42 of the file (0xff) is not UTF-8" in split.faults[0]


def test_faults_beyond_the_first_are_counted(model: str, tmp_path: Path) -> None:
    found = surveyed(model, classified(tmp_path, train=[("Ann", "go"), *["-"] * 50]))
    assert (found.splits["train"].num_faults, len(found.splits["train"].faults)) == (50, 20)
    assert "train: 30 more cannot be read." in text_of(found)


def test_rows_that_are_there_again_are_found_in_one_split_and_between_two(model: str, tmp_path: Path) -> None:
    train = [("Ann", "go"), ("Bob", "go"), ("Ann", "stay"), ("Ann", "go")]
    found = surveyed(model, classified(tmp_path, train=train, dev=[("Eve", "go"), ("Bob", "go")]))
    told = [(one.split, one.first_in, one.rows, one.other_answer) for one in found.duplicates]
    assert told == [("train", "train", 2, 1), ("dev", "train", 1, 0)]
    assert found.duplicates[1].places == (f"{tmp_path}/dev.jsonl, line 2 is line 2 of train",)
    assert "1 rows of dev are in train too" in text_of(found)


def test_two_rows_of_the_same_pixels_are_one_image(tmp_path: Path) -> None:
    for split, rows in {"train": [(0, "cat"), (1, "dog"), (0, "dog")], "dev": [(1, "dog")]}.items():
        lines = [json.dumps({"image": pixels(n, 9).tolist(), "label": label}) for n, label in rows]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    source = str(write_vit(tmp_path / "model"))
    found = survey(config(source, tmp_path, train={"task": "image-classification"}))
    told = [(one.split, one.first_in, one.rows, one.other_answer) for one in found.duplicates]
    assert told == [("train", "train", 1, 1), ("dev", "train", 1, 0)]


def test_labels_that_train_lacks_are_told_by_split(model: str, tmp_path: Path) -> None:
    found = surveyed(model, classified(tmp_path, train=[("Ann", "go")], dev=[("Eve", "stay"), ("it", "go")]))
    assert found.unknown == {"dev": ["stay"]}
    assert found.refused == ["dev holds labels that train lacks"]


def test_a_split_without_rows_is_told(model: str, tmp_path: Path) -> None:
    found = surveyed(model, classified(tmp_path, train=[("Ann", "go")], dev=[]))
    assert "holds no rows: at least one text with its label is needed" in found.splits["dev"].faults[0]
    assert "A training would refuse" in text_of(found)


def test_the_suggested_budget_splits_no_batch_further_and_less_would(model: str, tmp_path: Path) -> None:
    settings = config(model, tmp_path, train={"batch_size": 8, "micro_batches": 2, "token_budget": 64})
    lengths = [3 + 7 * n % 50 for n in range(100)]
    found = suggest(lengths, settings)

    def most_pieces(budget: int) -> int:
        steps = epoch_steps(
            lengths, batch_size=8, accumulate=1, micro_batches=2, token_budget=budget, seed=0, epoch=0
        )  # fmt: skip
        return max(len(step.micro_batches) for step in steps)

    assert most_pieces(found.suggested) == 2 < most_pieces(found.suggested - 64)
    assert found.usual <= found.suggested
    assert (found.given, found.longest, found.num_steps) == (64, max(lengths), 13)
    assert found.split_more > 0


def test_an_example_that_no_micro_batch_has_room_for_is_told(model: str, tmp_path: Path) -> None:
    found = surveyed(model, classified(tmp_path, train=[("Ann lives in Oslo", "go")]), train={"token_budget": 8})
    assert found.refused == ["the longest example has 16 sub-words, and train.token_budget is 8"]


def test_the_picture_shows_the_lengths_of_each_split_and_the_labels(model: str, tmp_path: Path) -> None:
    found = survey(config(model, write_data(tmp_path / "data")))
    lengths, labels = survey_figure(found).axes
    assert [text.get_text() for text in lengths.get_legend().get_texts()] == [
        "train: 48 examples", "dev: 12 examples", "test: 12 examples"
    ]  # fmt: skip
    assert labels.get_yticklabels()[0].get_text() == "O"


def test_the_command_prints_json_and_ends_with_0_1_or_2(model: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    classified(tmp_path, train=[("Ann", "go"), ("Bob", "stay")])
    path.write_text(f"model: {model}\ndata: {{path: {tmp_path}}}\ntrain: {{task: sequence-classification}}\n")
    words = [str(path), "--json", "--picture", str(tmp_path / "out" / "data.png")]
    good = CliRunner().invoke(app, words)
    assert good.exit_code == 0, good.output
    told = json.loads(good.stdout)
    assert told["splits"]["train"]["labels"] == {"go": 1, "stay": 1}
    assert told["splits"]["train"]["length_quantiles"]["0.5"] == 5
    assert told["token_budget"]["given"] == 4096
    assert (tmp_path / "out" / "data.png").read_bytes()[:4] == b"\x89PNG"
    classified(tmp_path, train=[("Ann", "go"), "-"])
    bad = CliRunner().invoke(app, words)
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["splits"]["train"]["unreadable"] == 1
    assert CliRunner().invoke(app, [*words, "data.path=nowhere"]).exit_code == 2


def test_a_column_that_no_example_has_is_refused(model: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.columns gives a column for 'txt'"):
        surveyed(model, tmp_path, data={"columns": {"txt": "a"}})
