from __future__ import annotations

from pipelines.model.units import Units
from pipelines.plan.placed import placed
from tests.unit.pipelines.plan.test_roles import PAIR, unit

HALVES = Units(
    (
        unit("embeddings"),
        unit("h.0 (up to attn)", "h.0"),
        unit("h.0 (behind attn)", "h.0"),
        unit("h.1 (up to attn)", "h.1"),
        unit("h.1 (behind attn)", "h.1"),
        unit("head"),
    )
)


def test_an_encoder_here_and_a_decoder_there_are_two_stages() -> None:
    assert placed(PAIR, {"encoder": "gpu", "decoder": "cpu"}) == {
        "stages": 2, "cut": (2,), "stage_of": (0, 1), "devices": ("gpu", "cpu"),
    }  # fmt: skip


def test_attention_here_and_feed_forward_there_are_two_stages_with_many_chunks() -> None:
    assert placed(HALVES, {"attention": "gpu", "feed-forward": "cpu"}) == {
        "stages": 2, "cut": (2, 3, 4), "stage_of": (0, 1, 0, 1), "devices": ("gpu", "cpu"),
    }  # fmt: skip


def test_embeddings_on_a_cpu_leave_the_rest_anywhere() -> None:
    found = placed(HALVES, {"embeddings": "cpu", "h.*": "gpu"})
    assert found == {"stages": 2, "cut": (1,), "stage_of": (0, 1), "devices": ("cpu", "gpu")}
