"""What can be told from a config before anything is started. It answers in a second, not after Ray is up."""

from __future__ import annotations

from pathlib import Path

from pipelines.adapt.methods import adapter_config
from pipelines.config import Config
from pipelines.data.hub import PREFIX
from pipelines.data.labels import check_labels
from pipelines.data.read import read_split
from pipelines.data.replay import with_replayed
from pipelines.data.sources import sources
from pipelines.errors import UserError
from pipelines.model.load import require_safetensors, resolve
from pipelines.plan.local import check_names, local_of
from pipelines.plan.pipeline import Pipeline
from pipelines.plan.plan import stage_devices
from pipelines.plan.schedules import make_schedule
from pipelines.plan.sharing import check_sharing
from pipelines.plan.strategy import check_strategy
from pipelines.take_up import Place, take_place
from pipelines.tasks import make_task
from pipelines.tasks.all_labels import all_labels
from pipelines.tasks.class_weights import check_class_weights
from pipelines.tasks.task import Task
from pipelines.train.adversarial import check_adversarial
from pipelines.train.checkpoint_copy import remote
from pipelines.train.importance import check_ewc
from pipelines.train.local import check_local
from pipelines.train.loss_scale import check_scaling
from pipelines.train.optimizers import check_optimizer
from pipelines.train.patience import check_patience
from pipelines.train.poison import check_poisoned
from pipelines.train.resume import check_changes
from pipelines.train.zeros import check_zeros

READ_TWICE = 32 * 2**20
"""Bytes of data that are checked here already."""


def preflight(config: Config) -> Place:
    """Check names, paths and the output folder, and hold the folder that the run will write.

    A checkpoint that is to be resumed from an address is here then.

    Raises:
        UserError: the first thing that cannot work; nothing is held then, and nothing was written.
    """
    if config.continual is not None:
        raise UserError(
            "The config has a section `continual`, of which a single run would do nothing. Start it with "
            "`python -m jobs.continual`, or leave the section out."
        )
    task = make_task(config.train.task)
    task.kind.columns(config.data).check()
    _check_bounded(config)
    if config.data.scratch is not None and config.data.memory is None:
        raise UserError(
            "data.scratch says where data is held that is larger than data.memory, which is not set. Set it, or leave "
            "data.scratch out."
        )
    if config.train.label_smoothing and not task.smooths:
        raise UserError(
            f"train.label_smoothing spreads a target over classes, and a target of {config.train.task} is no class. "
            "Remove it."
        )
    if config.data.packing and not task.packs:
        raise UserError(
            f"data.packing puts several texts into one row, which {config.train.task} does not take: of the tasks only "
            "causal-lm does. Leave it out."
        )
    if config.data.packing and config.plan.strategy == "data":
        raise UserError("data.packing needs the strategy `pipeline`: remove one of it and plan.strategy=data.")
    if config.train.distil is not None and not task.distils:
        raise UserError(
            "train.distil is for tasks that give a row, or each word of it, one label, and "
            f"{config.train.task} is none of them. Remove it."
        )
    if config.train.contrastive is not None and not task.contrasts:
        raise UserError(
            f"train.contrastive is for tasks that give a row one label, and {config.train.task} is none of them: there "
            "are no rows of the same label. Remove it."
        )
    check_optimizer(config.train.optimizer)
    check_scaling(config)
    check_poisoned(config)
    check_patience(config)
    check_changes(config)
    check_sharing(config)
    check_ewc(config)
    check_zeros(config)
    check_adversarial(config)
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
    place = take_place(config)
    try:
        if not (config.data.path or "").startswith(PREFIX):
            _check_rows(config, task)
        require_safetensors(resolve(config.model.source))
        if config.train.distil is not None:
            require_safetensors(resolve(config.train.distil.teacher))
        task.load_processor(config.model.source)
        if config.checkpoint.copy_to is not None:
            remote(config.checkpoint.copy_to, "checkpoint.copy_to").check_writable("checkpoint.copy_to")
        return place.fetched()
    except BaseException:
        place.folder.release()
        raise


def _check_bounded(config: Config) -> None:
    """Refuse what a data shard would hold beside the rows that are bounded."""
    for key, there in (("data.replay", config.data.replay), ("train.distil", config.train.distil)):
        if config.data.memory is not None and there is not None:
            raise UserError(
                f"data.memory bounds what a data shard holds, and {key} would make it hold more: rows of earlier sets, "
                "or a teacher. Remove one of them."
            )


def _check_rows(config: Config, task: Task) -> None:
    """Read what is small enough to be read twice: the data shards read and check everything once more."""
    data = config.data
    found = {split: source for split, source in sources(data).items() if not source.startswith(PREFIX)}
    if all(Path(source).is_file() for source in found.values()):
        size = sum(Path(source).stat().st_size for source in found.values())
        if size <= READ_TWICE:
            tables = {
                split: read_split(source, split=split, data=data, kind=task.kind) for split, source in found.items()
            }
            if "train" in tables:
                tables["train"] = with_replayed(tables["train"], data, task.kind)
            labels = {split: table.labels for split, table in tables.items()}
            known = all_labels(task, labels, data.labels)
            check_labels(labels, known)
            check_class_weights(config.train.class_weights, known)
