"""Talking to MLflow's store: quickly, quietly, without passwords, and with errors that the user can mend.

Imported before mlflow (`# isort: split`), because mlflow decides about its telemetry when it is imported.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from pipelines.config import Config
from pipelines.errors import UserError

# MLflow reports its use to its makers unless told otherwise; whoever sets the variable decides.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
from mlflow.exceptions import MlflowException

SQLITE = "sqlite:///"
WHERE_TO = "Or set track.uri to a server (http://HOST:PORT) or another file (sqlite:///PATH.db)."
# MLflow's own patience (7 retries of up to 120 s) suits a server that restarts in the middle of a run;
# at its beginning a wrong address must show at once.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
# Whole models are sent and fetched, which takes longer; and MLflow draws a bar for every copied folder.
ASKING = IMPATIENT | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
CHATTY = ("mlflow", "alembic")


@contextmanager
def asking(tracking_uri: str | None) -> Iterator[str]:
    """The address (MLflow's own default for None) of a store that is there, with all of the below meanwhile.

    Raises:
        UserError: MLflow cannot be used there.
    """
    uri = tracking_uri or mlflow.get_tracking_uri()
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        # MLflow would make a new, empty one.
        raise UserError(f"There is no MLflow database at {shown(uri)}: set track.uri, or train a model first.")
    with environment(ASKING), quiet(), explained(uri):
        yield uri


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set variables for a while, except those that the user has set."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide MLflow's INFO lines (of making a database, of the monitor); warnings stay."""
    levels = {logger: logger.level for logger in map(logging.getLogger, CHATTY)}
    for logger in levels:
        logger.setLevel(max(logging.WARNING, logger.level))
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def explained(uri: str, *, opening: bool = False) -> Iterator[None]:
    """Turn what the user can mend about the store into a UserError; once it is open, a refused value is a bug."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, ImportError) as error:
        if not opening and getattr(error, "error_code", None) == "INVALID_PARAMETER_VALUE":
            raise
        said = str(error).replace(uri, shown(uri)).rstrip(".")
        raise UserError(
            f"MLflow cannot be used at {shown(uri)}: {said}. Check that it is there and lets you write. {WHERE_TO}"
        ) from None


def shown(uri: str) -> str:
    """`uri` as it may be shown: without user and password."""
    netloc = urlsplit(uri).netloc
    _, at, host = netloc.rpartition("@")
    return uri.replace(netloc, f"***@{host}", 1) if at else uri


def without_password(config: Config) -> Config:
    """`config` as it may be stored with a run: `track.uri` as `shown`."""
    if config.track.uri is None:
        return config
    track = config.track.model_copy(update={"uri": shown(config.track.uri)})
    return config.model_copy(update={"track": track})
