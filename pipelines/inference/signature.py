"""What MLflow shows of a model's inputs and outputs, from the predictor's own types."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from mlflow.models.signature import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Map, Object, Property, Schema, TensorSpec

from pipelines.inference.predictor import Predictor

_PLAIN = {str: DataType.string, int: DataType.long, float: DataType.double, bool: DataType.boolean}


def signature_of(predictor: type[Predictor]) -> ModelSignature:
    """A column for each field of an input; one object for each output."""
    hints = get_type_hints(predictor.takes)
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(_kind(hints[field.name]), field.name, required=field.default is MISSING)
        for field in fields(predictor.takes)
    ]
    return ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec(_kind(predictor.gives))]))


def _kind(hint: Any) -> Any:
    """MLflow's type for a field's."""
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return Object([Property(field.name, _kind(hints[field.name])) for field in fields(hint)])
    if isinstance(hint, UnionType):
        (inner,) = (part for part in get_args(hint) if part is not type(None))
        return _kind(inner)
    if get_origin(hint) is list:
        return Array(_kind(get_args(hint)[0]))
    if get_origin(hint) is dict:
        return Map(_kind(get_args(hint)[1]))
    return _PLAIN[hint]
