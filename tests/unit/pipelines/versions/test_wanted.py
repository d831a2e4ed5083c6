"""What the tags of a version say."""

from __future__ import annotations

import pytest

from pipelines.errors import UserError
from pipelines.serve_settings import TrialConfig
from pipelines.versions.wanted import gate_of, share_of, way


@pytest.mark.parametrize(("tag", "share"), [("shadow", None), ("share:0.1", 0.1), ("share:1", 1.0)])
def test_how_a_candidate_is_tried_is_written_and_read(tag: str, share: float | None) -> None:
    assert share_of(tag) == share
    assert way(share) == tag


@pytest.mark.parametrize("tag", ["", "share", "share:", "share:0", "share:1.5", "share:nan", "share:-1", "0.1", "half"])
def test_no_other_way_of_trying_is_taken_for_one(tag: str) -> None:
    with pytest.raises(UserError, match=r"set it to shadow, or to a share such as share:0\.1"):
        share_of(tag)


def test_a_candidates_own_gate_wins_key_by_key() -> None:
    defaults = TrialConfig(min_requests=7)
    assert gate_of(None, defaults) == defaults
    found = gate_of('{"min_seconds": 5, "promote": "hand"}', defaults)
    assert (found.min_requests, found.min_seconds, found.promote) == (7, 5, "hand")


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("{", "no JSON object"),
        ("[]", "no JSON object"),
        ("5", "no JSON object"),
        ('{"min_request": 5}', "min_request: Extra inputs"),
        ('{"min_requests": 0}', "min_requests: Input should be greater"),
        ('{"min_agreement": NaN}', "min_agreement"),
    ],
)
def test_a_gate_that_cannot_be_used_is_refused_in_words(tag: str, said: str) -> None:
    with pytest.raises(UserError, match="it takes min_requests, min_seconds") as refused:
        gate_of(tag, TrialConfig())
    assert said in str(refused.value)
