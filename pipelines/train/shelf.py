"""Where a run keeps its checkpoints: written, sorted out, and copied elsewhere if the config asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelines.checkpoint_settings import CheckpointConfig
from pipelines.train.checkpoint import Checkpoint, saved, step_of
from pipelines.train.checkpoint_choose import score_of, staying
from pipelines.train.checkpoint_copy import mirror, remote
from pipelines.train.checkpoint_write import State, remove, save_checkpoint, set_score


class Shelf:
    """The checkpoints of one run."""

    def __init__(
        self, run: Path, config: CheckpointConfig, tell: Callable[[str], None], start: Checkpoint | None = None
    ) -> None:
        """`tell` is told what did not work and is tried again; `start` is what the run goes on from."""
        self._run, self._config, self._tell = run, config, tell
        self._last: Path | None = None
        if start is not None and start.folder.absolute().is_relative_to(run.absolute()):
            self._last = start.folder

    def save(self, *, step: int, facts: Mapping[str, Any], parts: Iterable[State], score: float | None) -> Path:
        """Write a checkpoint and sort out; one of the same step that was written or read before is left as it is.

        Args:
            parts: weights and optimizer state, piece by piece.
            score: micro F1 on dev, if these weights were scored.

        Raises:
            UserError: it cannot be written.
        """
        if self._last is None or step_of(self._last) != step:
            self._last = save_checkpoint(self._run, step=step, facts=facts, parts=parts, score=score)
            self.sort_out()
        return self._last

    def sort_out(self, newest: Path | None = None, score: float | None = None) -> None:
        """Remove what need not stay, here and among the copies, and copy what is new.

        Args:
            newest, score: a checkpoint whose score came after it was written.
        """
        if newest is not None and score is not None and newest.is_dir() and score_of(newest) is None:
            try:
                set_score(newest, score)
            except OSError as error:
                self._tell(f"The score of {newest} could not be written into it ({error.strerror}): it counts as none.")
        found = {step_of(path): path for path in saved(self._run)}
        scores = [(step, score_of(path)) for step, path in found.items()]
        stay = staying(scores, keep=self._config.keep, keep_best=self._config.keep_best)
        for step in found.keys() - stay:
            remove(found[step])
        if self._config.copy_to is not None:
            self._copy(self._config.copy_to, [found[step] for step in sorted(stay)])

    def _copy(self, address: str, checkpoints: list[Path]) -> None:
        try:
            mirror(remote(address, "checkpoint.copy_to"), self._run, checkpoints)
        except Exception as error:  # Every protocol has errors of its own, and the run need not end for one.
            self._tell(
                f"The checkpoints could not be copied to {address} ({type(error).__name__}: {error}); they are in "
                f"{self._run}, and it is tried again with the next one."
            )
