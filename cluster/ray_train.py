"""From a run's config to Ray Train's TorchTrainer, and what it leaves in the run's folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer

from cluster.data_worker import Errand, work
from pipelines.plan.strategy import MAX_FAILURES, num_workers

CHECKPOINTS = "checkpoints"
"""Ray Train's own folder for a run is the one that our checkpoints lie in."""
_SNAPSHOT, _MARKER = "checkpoint_manager_snapshot.json", ".validate_storage_marker"
"""What Ray Train writes there for itself."""


class TrainerShell:
    """Waits for Ray Train in a process of its own.

    An actor, not a task: it has to be ended at any moment, and `ray.cancel(force=True)` of a task that ends just then
    is a failed check in Ray 2.60 (`Tried to complete task that was not pending`), with which the driver dies.
    """

    def train(self, errand: Errand) -> None:
        """Run `work` on all workers, to the end.

        Raises:
            ray.train.TrainingFailedError: more workers were lost than `plan.max_failures` allows.
        """
        plan = errand.config.plan
        fewest, most = num_workers(plan)
        on_gpus = plan.devices == "gpu"
        resources: dict[str, float] = {"CPU": plan.cpus_per_stage} | ({"GPU": 1} if on_gpus else {})
        # It would go on from there, and not from where this run begins.
        (errand.folder / CHECKPOINTS / _SNAPSHOT).unlink(missing_ok=True)
        trainer = TorchTrainer(
            work,
            train_loop_config={"errand": errand},
            torch_config=TorchConfig(
                backend="nccl" if on_gpus and _gpus_are_real() else "gloo", timeout_s=max(1, int(plan.timeout))
            ),
            scaling_config=ray.train.ScalingConfig(
                # Its type is inherited from an older version, which had no elastic workers.
                num_workers=most if fewest == most else (fewest, most),  # type: ignore[arg-type]
                use_gpu=on_gpus,
                resources_per_worker=resources,
            ),
            run_config=ray.train.RunConfig(
                name=CHECKPOINTS,
                storage_path=str(errand.folder),
                failure_config=ray.train.FailureConfig(
                    max_failures=MAX_FAILURES if plan.max_failures is None else plan.max_failures
                ),
            ),
        )
        trainer.fit()


# Any: as in cluster/actors.py.
TrainerActor: Any = ray.remote(TrainerShell)


def tidy(folder: Path, *, begun: bool) -> None:
    """Take away what only Ray Train reads; all of the folder where the run never began."""
    place = folder / CHECKPOINTS
    for name in (_SNAPSHOT, _MARKER):
        with suppress(OSError):
            (place / name).unlink(missing_ok=True)
    if not begun:
        with suppress(OSError):
            place.rmdir()
            folder.rmdir()


def _gpus_are_real() -> bool:
    """Whether what Ray counts as a GPU is one; a logical GPU computes on the CPU."""
    probe = ray.remote(num_cpus=0, num_gpus=1)(torch.cuda.is_available)
    return bool(ray.get(probe.remote()))
