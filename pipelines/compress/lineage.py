"""A form of a registered model becomes a version of it, which says what it was made of and what that cost."""

from __future__ import annotations

from mlflow import MlflowClient

from pipelines.compress.compress import Verdict
from pipelines.errors import UserError
from pipelines.inference import registry
from pipelines.mlflow_store import asking


def register_form(verdict: Verdict, model: str, *, alias: str, tracking_uri: str | None) -> str:
    """Register the form's folder under the model's name and run; returns the new version.

    Args:
        model: `models:/NAME@ALIAS` or `models:/NAME/VERSION`: what the form was made of.

    Raises:
        UserError: no such model, or one that belongs to no run.
    """
    of = registry.resolve(model, tracking_uri=tracking_uri)
    with asking(tracking_uri) as store:
        made_of = MlflowClient(store).get_model_version(of.name, of.version)
    if not made_of.run_id:
        raise UserError(f"{of.uri} belongs to no run, so that a form of it would have no history: register it anew.")
    tags = dict(made_of.tags) | {
        "made_of": of.uri,
        "form": verdict.form.name,
        "score": f"{verdict.form.score:.6f}",
        "points_lost": f"{100 * verdict.lost:.3f}",
        "speed": f"{verdict.speed:.3f}",
    }
    version = registry.register(
        verdict.form.folder, name=of.name, alias=alias, run_id=made_of.run_id, tags=tags, tracking_uri=tracking_uri
    )
    return str(version.version)
