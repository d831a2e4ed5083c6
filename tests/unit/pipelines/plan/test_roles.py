from __future__ import annotations

import pytest

from pipelines.errors import UserError
from pipelines.model.units import Unit, Units
from pipelines.plan.roles import allowed, members


def unit(name: str, block: str | None = None) -> Unit:
    return Unit(name, (), 1, block)


BERT = Units(
    (
        unit("embeddings"),
        unit("bert.encoder.layer.0 (up to attention)", "bert.encoder.layer.0"),
        unit("bert.encoder.layer.0 (behind attention)", "bert.encoder.layer.0"),
        unit("bert.encoder.layer.1"),
        unit("head"),
    ),
    undivided={"bert.encoder.layer.1": "it has but one part"},
)
PAIR = Units(
    (
        unit("embeddings"),
        unit("encoder.encoder.layer.0"),
        unit("decoder.bert.encoder.layer.0"),
        unit("head"),
    )
)
TYPES, KINDS = ["a100", "t4", "cpu-8"], ["gpu", "gpu", "cpu"]


@pytest.mark.parametrize(
    ("units", "role", "expected"),
    [
        (BERT, "embeddings", [0]),
        (BERT, "head", [4]),
        (BERT, "attention", [1]),
        (BERT, "feed-forward", [2]),
        (BERT, "encoder", [1, 2, 3]),
        (BERT, "*.layer.1", [3]),
        (BERT, "bert.encoder.layer.0", [1, 2]),
        (PAIR, "encoder", [1]),
        (PAIR, "decoder", [2]),
    ],
)
def test_a_role_or_a_pattern_means_units(units: Units, role: str, expected: list[int]) -> None:
    assert members(units, role) == expected


def test_a_kind_means_all_its_types_and_a_type_only_itself() -> None:
    assert allowed(PAIR, {"encoder": "gpu", "decoder": "cpu", "head": "t4"}, TYPES, KINDS) == (
        (True, True, False, False),
        (True, True, False, True),
        (True, False, True, False),
    )


@pytest.mark.parametrize(
    ("units", "place", "message"),
    [
        (BERT, {"decoder": "cpu"}, "'decoder', which is neither a role .* nor a pattern"),
        (PAIR, {"attention": "cpu"}, "'attention', which is neither a role"),
        (BERT, {"encoder": "tpu"}, r"to 'tpu', but the cluster offers: a100 \(gpu\), t4 \(gpu\), cpu-8 \(cpu\)"),
        (BERT, {"encoder": "gpu", "*.layer.1": "cpu"}, "'bert.encoder.layer.1' to different devices at once"),
    ],
)
def test_what_there_is_not_is_refused(units: Units, place: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        allowed(units, place, TYPES, KINDS)


def test_why_no_block_is_divided_is_said() -> None:
    whole = Units((unit("embeddings"), unit("h.0"), unit("head")), undivided={"h.0": "it has but one part"})
    with pytest.raises(UserError, match=r"no block of this model can be divided: h\.0: it has but one part"):
        members(whole, "attention")
