"""What perturbations did, for the terminal."""

from __future__ import annotations

from pipelines.robustness.flips import Robustness


def lines(found: Robustness) -> list[str]:
    """A table of all perturbations, the one with the most flips first; rows and labels are for the page."""
    width = max(len("perturbation"), *(len(one.name) for one in found.flips))
    name = found.score_name
    head = f"{'perturbation':<{width}}   rate   rows  {found.of_what:>8}  flipped  95 of 100 draws    {name:>8}  change"
    shown = [f"{found.rows:,} rows, {name} {found.score:.4f}; a row that was not changed counts as it is", "", head]
    for one in sorted(found.flips, key=lambda one: -(one.share.score if one.share else -1)):
        share = f"{'-':>7}  {'-':>17}"
        if one.share is not None:
            share = f"{one.share.score:>7.1%}  {f'{one.share.low:.1%} to {one.share.high:.1%}':>17}"
        shown.append(
            f"{one.name:<{width}}  {one.rate:>5.0%}  {one.rows:>5}  {one.said:>8}  {share}  {one.score:>8.4f}  "
            f"{one.score - found.score:>+.4f}"
        )
    return shown
