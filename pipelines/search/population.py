"""What a population may vary: its members go on from each other's checkpoints in the middle of a run."""

from __future__ import annotations

from typing import get_args

from pipelines.checkpoint_settings import Changeable
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.search.space import Space


def check_population(config: Config, space: Space, every: int) -> None:
    """Refuse what population based training cannot do.

    Args:
        every: epochs between two comparisons.

    Raises:
        UserError: a setting that cannot change in the middle of a run, no epoch after the first comparison, or a run
            that ends when it likes.
    """
    known = get_args(Changeable)
    for key in space:
        if key not in known:
            raise UserError(
                f"{key} cannot change in the middle of a run, and a population's members go on from each other's "
                f"checkpoints with other settings. Search {', '.join(known)}, or search {key} with --by random."
            )
    if every >= config.train.epochs:
        raise UserError(
            f"A population that is compared every {every} epochs is never compared in a run of {config.train.epochs}: "
            "what was taken over has to be trained, too. Raise train.epochs or lower --every."
        )
    if config.train.patience is not None:
        raise UserError(
            "With train.patience a run goes back to its best checkpoint, which may be that of another member of the "
            "population. Leave train.patience out, or search with --by random."
        )
