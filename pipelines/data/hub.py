"""Data sets of the Hugging Face hub: `hub:ID`, or `hub:ID:CONFIG` where one id holds several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.data.fields import Columns
from pipelines.data.read_datasets import dataset_rows, pick_split
from pipelines.data.rows import Record
from pipelines.data.splits import NAMES, find_split
from pipelines.errors import UserError

PREFIX = "hub:"
# `datasets` no longer runs the loading scripts that many of the older data sets (conll2003, wnut_17)
# consist of. The hub keeps their rows as Parquet on this branch, one folder a configuration.
CONVERTED = "refs/convert/parquet"
ELSEWHERE = (
    "On a machine that reaches the hub, load the data set with `datasets` and save it with save_to_disk, copy the "
    "folder here, and set data.path to it."
)


@dataclass(frozen=True, slots=True)
class Hub:
    """The two calls that reach the hub, so that a test can answer them."""

    load: Callable[..., Mapping[str, Any]]
    files: Callable[[str, str], list[str]]
    """The files of a data set's branch, by id and branch."""


def the_hub() -> Hub:
    """The real one."""
    import datasets
    from huggingface_hub import HfApi

    def files(repo: str, branch: str) -> list[str]:
        return list(HfApi().list_repo_files(repo, repo_type="dataset", revision=branch))

    return Hub(datasets.load_dataset, files)


def hub_splits(source: str, hub: Hub | None = None) -> list[str]:
    """Which of our splits a hub data set has.

    Raises:
        UserError: see `load_hub`.
    """
    there = load_hub(source, hub)
    return [split for split in NAMES if find_split(there, split, place=source) is not None]


def read_hub(source: str, split: str, columns: Columns, hub: Hub | None = None) -> Iterator[Record]:
    """Yield the rows of one split.

    Raises:
        UserError: see `load_hub`; a split or a column that it lacks.
    """
    dataset = pick_split(load_hub(source, hub), split, place=source)
    return dataset_rows(dataset, place=f"{source}, {split}", columns=columns)


def load_hub(source: str, hub: Hub | None = None) -> Mapping[str, Any]:
    """All splits of a hub data set, from its cache where they were loaded before.

    Raises:
        UserError: the hub cannot be reached, has no such data set or configuration, asks for one of several
            configurations, or only holds a loading script.
    """
    repo, _, config = source.removeprefix(PREFIX).partition(":")
    if not repo:
        raise UserError(f"{source!r} names no data set. Write hub:ID or hub:ID:CONFIG, for example hub:wnut_17.")
    hub = hub or the_hub()
    import httpx
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        try:
            return hub.load(repo, config or None)
        except RuntimeError as error:
            if "scripts are no longer supported" not in str(error):
                raise
        return hub.load(repo, data_dir=_converted(repo, config, hub), revision=CONVERTED)
    except UserError:
        raise
    except RevisionNotFoundError:
        raise UserError(
            f"{source} is a loading script, which `datasets` no longer runs, and the hub keeps no Parquet form of it. "
            "Look there for a copy with data files, or give the files themselves (data.train, data.dev, data.test)."
        ) from None
    except (DatasetNotFoundError, RepositoryNotFoundError):
        raise UserError(
            f"The hub shows no data set {repo!r}: it does not exist, or is private or gated. Check the id on "
            "https://huggingface.co/datasets, and run `hf auth login` for one that asks who you are."
        ) from None
    except (ConnectionError, TimeoutError, httpx.TransportError) as error:
        raise UserError(f"The hub cannot be reached for {source} ({_short(error)}). {ELSEWHERE}") from None
    except (DatasetsError, ValueError, OSError, httpx.HTTPError) as error:
        raise UserError(
            f"{source} cannot be loaded: {_short(error)}. Where an id holds several configurations, write "
            f"hub:ID:CONFIG. {ELSEWHERE}"
        ) from None


def _converted(repo: str, config: str, hub: Hub) -> str:
    """The folder of the configuration on the converted branch."""
    parquet = [name for name in hub.files(repo, CONVERTED) if name.endswith(".parquet")]
    configs = sorted({name.split("/")[0] for name in parquet})
    if not config and len(configs) == 1:
        config = configs[0]
    if config not in configs:
        found = f"there is no {config!r}" if config else "one of them must be named"
        raise UserError(
            f"hub:{repo} has the configurations {', '.join(configs) or '(none)'}: {found}. "
            f"Write hub:{repo}:CONFIG with one of these."
        )
    if any(name.startswith(f"{config}/partial-") for name in parquet):
        raise UserError(
            f"The hub keeps only a part of hub:{repo}:{config} as Parquet, and its loading script is no longer run. "
            "Give the files themselves (data.train, data.dev, data.test)."
        )
    return config


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
