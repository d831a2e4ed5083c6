"""One trial of a search: a run that is ended when others do better."""

from __future__ import annotations

from typing import Any

from ray import tune

from cluster.child import Child, Errand


class Trial(tune.Trainable):
    """Ray Tune asks it for one score on dev after the other, and ends it when others do better."""

    def setup(self, config: dict[str, Any], errand: Errand | None = None) -> None:
        """Start the run.

        Args:
            config: what the search chose, by key of the run's config.
            errand: always given; Ray Tune wants a default.
        """
        assert errand is not None
        name = trial_name(self.trial_id)
        # A run that goes back to its best weights needs these.
        keep_best = 0 if errand.config["train"]["patience"] is None else 1
        self._child = Child(
            errand,
            errand.folder / name,
            config,
            alias=name,
            checkpoint={"resume": "never", "keep": 1, "keep_best": keep_best},
            tags={},
        )
        self._last: dict[str, Any] = {}

    def step(self) -> dict[str, Any]:
        """The next score on dev; the last one again, as `done` and `again`, when the run is over by itself."""
        found = self._child.score()
        if found is None:
            if not self._last or not self._child.is_whole:
                raise RuntimeError("the run ended before its time, or without a score on dev")
            return self._last | {"done": True, "again": True, "folder": str(self._child.run)}
        self._last = found
        return dict(found)

    def cleanup(self) -> None:
        """End the run, if it still goes on."""
        self._child.end()


def trial_name(trial_id: str) -> str:
    """As it is called in folders, tables and aliases, from Ray Tune's name of it."""
    return f"trial-{trial_id.rpartition('_')[2]}"
