"""Models go to MLflow's registry as code and safetensors, and come back as a folder. No pickle on the way.

runs:/RUN -> logged model -> NAME, version 3 <- alias champion
                             |- MLmodel
                             |- pyfunc_model.py, code/pipelines/    what `mlflow.pyfunc.load_model` runs
                             `- artifacts/                          what `fetch` returns
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.mlflow_store import asking, shown

# isort: split
import mlflow.artifacts
import mlflow.pyfunc
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

import pipelines
from pipelines.adapt.adapted import ADAPTER
from pipelines.errors import UserError
from pipelines.inference.files import refuse_pickle

# What predicting imports; MLflow would find out by loading the model in another process.
REQUIREMENTS = ("mlflow", "numpy", "pydantic", "safetensors", "torch", "transformers")
# Enough of Motley to predict, so that a copy in front of `sys.path` hides nothing that has changed since.
PREDICTING = (
    "__init__", "answer_predictor", "class_predictor", "entities", "entity_predictor", "facts", "files",
    "mask_predictor", "media_predictor", "network", "predictor", "predictors", "text_predictor",
    "vector_predictor", "words",
)  # fmt: skip
CODE = (
    "__init__.py",
    "errors.py",
    *(f"adapt/{name}.py" for name in ("__init__", "adapted", "bottleneck")),
    *(f"data/{name}.py" for name in ("__init__", "decode_image", "decode_sound", "examples", "windows")),
    *(f"inference/{name}.py" for name in PREDICTING),
    *(f"model/{name}.py" for name in ("__init__", "sparse_file")),
)
LOCAL = "local"
"""The version of a model that comes from a plain folder."""

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_ARTIFACT = "model"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One version of one model; unlike an alias it means the same tomorrow."""

    name: str
    version: str
    uri: str


def register(
    folder: Path, *, name: str, alias: str, run_id: str, tags: dict[str, str], tracking_uri: str | None = None
) -> ModelVersion:
    """Log `folder` (as `save_pretrained` wrote it) to the run, register it as `name` and point `alias` at it.

    Raises:
        UserError: the folder holds a pickle, or MLflow cannot be used at `tracking_uri`.
    """
    _forbid_pickle()
    refuse_pickle(folder)
    with asking(tracking_uri) as uri, TemporaryDirectory() as scratch:
        client = MlflowClient(uri)
        experiment = client.get_run(run_id).info.experiment_id
        logged = client.create_logged_model(experiment, name=name, source_run_id=run_id, tags=tags)
        saved = Path(scratch, "saved")
        _save(
            folder,
            saved,
            Path(scratch, "pipelines"),
            Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id),
        )
        client.log_model_artifacts(logged.model_id, str(saved))
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = client.create_model_version(
            name, logged.artifact_location, run_id=run_id, tags=tags, model_id=logged.model_id
        )
        client.set_registered_model_alias(name, alias, version.version)
        return client.get_model_version(name, version.version)


def resolve(uri: str, *, tracking_uri: str | None) -> ModelRef:
    """Which version `models:/NAME@ALIAS`, `models:/NAME/3` or a local folder means now.

    Raises:
        UserError: there is no such name, alias, version or folder; the message names those there are.
    """
    if not uri.startswith("models:"):
        folder = Path(uri).expanduser().absolute()
        if not folder.is_dir():
            raise UserError(
                f"There is no model at {uri!r}: give models:/NAME@ALIAS, models:/NAME/VERSION or a model's folder."
            )
        return ModelRef(folder.name, LOCAL, str(folder))
    match = _URI.fullmatch(uri)
    if match is None:
        raise UserError(f"{uri!r} is not a model's address: write models:/NAME@ALIAS or models:/NAME/VERSION.")
    with asking(tracking_uri) as store:
        client = MlflowClient(store)
        model = registered(client, match["name"], shown(store))
        version = match["version"] or aliased(model, match["alias"])
        known = [found.version for found in client.search_model_versions(f"name = '{model.name}'")]
    if version not in map(str, known):
        raise UserError(f"{model.name} has no version {version}: there is {_listed(sorted(map(str, known), key=int))}.")
    return ModelRef(model.name, version, f"models:/{model.name}/{version}")


def alias_of(uri: str) -> tuple[str, str] | None:
    """The name and alias in `models:/NAME@ALIAS`; None for what always means the same, a version or a folder."""
    match = _URI.fullmatch(uri)
    return (match["name"], match["alias"]) if match is not None and match["alias"] is not None else None


def fetch(uri: str, *, tracking_uri: str | None) -> tuple[Path, str]:
    """The model's folder on this machine (downloaded if the store is elsewhere) and its version.

    Raises:
        UserError: as `resolve`; or the model holds a pickle, or was not registered by `register`.
    """
    _forbid_pickle()
    ref = resolve(uri, tracking_uri=tracking_uri)
    if ref.version == LOCAL:
        refuse_pickle(Path(ref.uri))
        return Path(ref.uri), ref.version
    with asking(tracking_uri) as store:
        # Not of ref.uri: for that MLflow asks the process's own registry, whatever it is told.
        source = MlflowClient(store).get_model_version_download_uri(ref.name, ref.version)
        root = Path(mlflow.artifacts.download_artifacts(artifact_uri=source, tracking_uri=store))
    refuse_pickle(root)
    return _weights(root, ref.uri), ref.version


def add_file(uri: str, file: Path, *, tracking_uri: str | None) -> str:
    """Put a file into a model's folder, also into that of a version which is registered already; says where it is now.

    Raises:
        UserError: as `fetch`.
    """
    folder, version = fetch(uri, tracking_uri=tracking_uri)
    if version == LOCAL:
        return str(shutil.copy(file, folder))
    ref = resolve(uri, tracking_uri=tracking_uri)
    with asking(tracking_uri) as store:
        source = MlflowClient(store).get_model_version_download_uri(ref.name, ref.version)
        root = next(parent for parent in folder.parents if (parent / "MLmodel").is_file())
        get_artifact_repository(source, tracking_uri=store).log_artifact(str(file), str(folder.relative_to(root)))
    return ref.uri


def _save(folder: Path, saved: Path, code: Path, model: Model) -> None:
    """Write MLflow's form of the model to `saved`; `code` is where the code for it is laid out."""
    # Imported here: whoever only resolves an address needs no torch.
    from pipelines.inference.predictors import predictor_class
    from pipelines.inference.signature import signature_of

    source = Path(pipelines.__file__).parent
    for name in CODE:
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, code / name)
    mlflow.pyfunc.save_model(
        path=str(saved),
        mlflow_model=model,
        python_model=str(source / "inference" / "pyfunc_model.py"),
        artifacts={_ARTIFACT: str(folder.absolute())},
        code_paths=[str(code)],
        pip_requirements=[f"{name}=={installed(name).partition('+')[0]}" for name in _requirements(folder)],
    )
    # Given to save_model it would lose against the types of `predict`, which cannot say as much.
    mlflow.models.set_signature(str(saved), signature_of(predictor_class(folder)))


def _requirements(folder: Path) -> list[str]:
    from pipelines.inference.network import GRAPH, runtime_of
    from pipelines.inference.predictor import takes_media
    from pipelines.inference.predictors import predictor_class

    media = ["pillow", "scipy"] if takes_media(predictor_class(folder)) else []
    graph = [runtime_of(folder)] if (folder / GRAPH).is_file() else []
    return [*REQUIREMENTS, *media, *graph, *(["peft"] if (folder / ADAPTER).is_dir() else [])]


def _weights(root: Path, uri: str) -> Path:
    """The folder that `save_pretrained` wrote, inside MLflow's form of the model."""
    flavor = Model.load(str(root)).flavors.get("python_function", {})
    path = flavor.get("artifacts", {}).get(_ARTIFACT, {}).get("path")
    if path is None or not (root / path / "config.json").is_file():
        raise UserError(f"{uri} was not registered by Motley: it has no artifact {_ARTIFACT!r} with a config.json.")
    return root / str(path)


def registered(client: MlflowClient, name: str, store: str) -> RegisteredModel:
    """The registered model with its aliases.

    Raises:
        UserError: there is none of that name at `store`; the message names those there are.
    """
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    names = sorted(model.name for model in client.search_registered_models())
    raise UserError(f"No model {name!r} is registered at {store}: there is {_listed(names)}.")


def aliased(model: RegisteredModel, alias: str) -> str:
    """The version that an alias points at.

    Raises:
        UserError: the model has no such alias; the message names those there are.
    """
    if alias not in model.aliases:
        raise UserError(f"{model.name} has no alias {alias!r}: there is {_listed(sorted(model.aliases))}.")
    return str(model.aliases[alias])


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "none yet"


def _forbid_pickle() -> None:
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
