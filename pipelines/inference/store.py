"""Talking to MLflow's store: quickly, quietly, and with errors that the user can mend."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow.exceptions import MlflowException

from pipelines.errors import UserError

SQLITE = "sqlite:///"
# MLflow tries a server that is not there for minutes, and draws a bar for every copied folder.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
CHATTY = ("mlflow", "alembic")


@contextmanager
def asking(tracking_uri: str | None) -> Iterator[str]:
    """The store's address (MLflow's own default for None), with MLflow's INFO lines off meanwhile.

    Raises:
        UserError: MLflow cannot be used there.
    """
    uri = tracking_uri or mlflow.get_tracking_uri()
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        # MLflow would make a new, empty one.
        raise UserError(f"There is no MLflow database at {shown(uri)}: set track.uri, or train a model first.")
    added = {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    levels = {logger: logger.level for logger in map(logging.getLogger, CHATTY)}
    os.environ.update(added)
    for logger in levels:
        logger.setLevel(max(logging.WARNING, logger.level))
    try:
        yield uri
    except (MlflowException, ImportError) as error:
        if getattr(error, "error_code", None) == "INVALID_PARAMETER_VALUE":
            raise  # A bug of ours, and not the store's state.
        reason = str(error).replace(uri, shown(uri))
        raise UserError(
            f"MLflow at {shown(uri)} cannot do this: {reason}. Check that it is there, or set track.uri."
        ) from None
    finally:
        for name in added:
            os.environ.pop(name, None)
        for logger, level in levels.items():
            logger.setLevel(level)


def shown(uri: str) -> str:
    """`uri` as it may be shown: without user and password."""
    netloc = urlsplit(uri).netloc
    _, at, host = netloc.rpartition("@")
    return uri.replace(netloc, f"***@{host}", 1) if at else uri
