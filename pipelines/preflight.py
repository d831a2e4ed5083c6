"""What can be told from a config before anything is started. It answers in a second, not after Ray is up."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from pipelines.adapt.methods import adapter_config
from pipelines.config import Config
from pipelines.data.hub import PREFIX
from pipelines.data.labels import check_labels, label_list
from pipelines.data.read import read_split
from pipelines.data.rows import quote
from pipelines.data.sources import sources
from pipelines.errors import UserError
from pipelines.model.load import load_tokenizer, require_safetensors, resolve
from pipelines.plan.local import check_names, local_of
from pipelines.plan.pipeline import Pipeline
from pipelines.plan.plan import stage_devices
from pipelines.plan.schedules import make_schedule
from pipelines.plan.sharing import check_sharing
from pipelines.plan.strategy import check_strategy
from pipelines.tasks import make_task
from pipelines.tasks.class_weights import check_class_weights
from pipelines.train.checkpoint import open_checkpoint
from pipelines.train.local import check_local
from pipelines.train.loss_scale import check_scaling
from pipelines.train.optimizers import check_optimizer

READ_TWICE = 32 * 2**20
"""Bytes of data that are checked here already."""


def preflight(config: Config) -> Path:
    """Check names, paths and the output folder, and return the folder that the run will write.

    Raises:
        UserError: the first thing that cannot work.
    """
    make_task(config.train.task)
    check_optimizer(config.train.optimizer)
    check_scaling(config)
    check_sharing(config)
    if config.adapter is not None:
        adapter_config(config.adapter, config.train.task)
    for name, part in config.devices.items():
        if part.optimizer is not None:
            check_optimizer(part.optimizer, f"devices.{name}.optimizer")
    check_strategy(config)
    if config.plan.stages != "auto":
        # The types of a plan that is to be made are not known yet.
        check_names(config, ())
        check_local(config.train, [(device, local_of(config, device)) for device in stage_devices(config.plan)])
    if config.plan.schedule != "auto":
        make_schedule(config.plan.schedule, Pipeline((0,)), 1)
    if config.checkpoint.resume is not None:
        open_checkpoint(config.checkpoint.resume)
    folder = _folder(config)
    if not (config.data.path or "").startswith(PREFIX):
        _check_rows(config)
    require_safetensors(resolve(config.model.source))
    load_tokenizer(config.model.source)
    return folder


def _check_rows(config: Config) -> None:
    """Read what is small enough to be read twice: the data shards read and check everything once more."""
    data = config.data
    found = {split: source for split, source in sources(data).items() if not source.startswith(PREFIX)}
    if all(Path(source).is_file() for source in found.values()):
        size = sum(Path(source).stat().st_size for source in found.values())
        if size <= READ_TWICE:
            tags = {split: read_split(source, split=split, data=data).labels for split, source in found.items()}
            check_labels(tags)
            check_class_weights(config.train.class_weights, label_list(tags))


def _folder(config: Config) -> Path:
    """Where the run goes: a folder that is new or empty, or the run's own when it is resumed."""
    name = f"{config.run.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = Path(config.run.output or Path("runs") / name).absolute()
    resumed = config.checkpoint.resume is not None and Path(config.checkpoint.resume).absolute().is_relative_to(folder)
    try:
        taken = folder.is_dir() and any(folder.iterdir())
        nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    except OSError as error:
        raise UserError(
            f"The output folder {quote(str(folder))} cannot be looked up: {error.strerror}. Choose another run.output."
        ) from None
    if taken and not resumed:
        raise UserError(
            f"The output folder {folder} exists and is not empty. Choose another run.output, or go on with "
            f"the run in it: checkpoint.resume={folder}."
        )
    try:
        with tempfile.TemporaryDirectory(dir=nearest):
            pass
    except OSError as error:
        raise UserError(
            f"The output folder {folder} cannot be written: {nearest} refuses ({os.strerror(error.errno or 0)}). "
            "Choose another run.output."
        ) from None
    return folder
