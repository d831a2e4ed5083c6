"""The run's configuration: defaults < YAML file < `key=value` on the command line.

Imports neither torch nor ray, so that a config can be checked anywhere, at once. Unknown keys are
errors that name the nearest known key; nothing is ignored.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from pipelines.adapter_settings import AdapterConfig
from pipelines.byte_size import byte_size
from pipelines.checkpoint_settings import CheckpointConfig
from pipelines.continual_settings import ContinualConfig, EwcConfig, ReplayConfig
from pipelines.device_settings import DeviceConfig, EnergyConfig
from pipelines.distil_settings import DistilConfig
from pipelines.errors import UserError
from pipelines.plan_settings import PlanConfig
from pipelines.recipe_settings import AdversarialConfig, ContrastiveConfig
from pipelines.recovery_settings import RecoveryConfig
from pipelines.section import Section
from pipelines.serve_settings import ServeConfig
from pipelines.yaml_text import parse, reason, shown

LEAST_MEMORY = 16 * 10**6
"""Bytes that a data shard needs for a stream of any data."""


class RunConfig(Section):
    name: str = Field(default="motley", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the run, its MLflow experiment and, unless told otherwise, the registered model."""
    seed: int = Field(default=0, ge=0)
    """Seeds the new head, the order of the data and every dropout mask."""
    output: str | None = None
    """The run's folder; `runs/NAME-DATE-TIME` when left out."""


class ModelConfig(Section):
    source: str = "bert-base-cased"
    """A hub id, a local folder, a GGUF file, or `package:DISTRIBUTION/path/inside` for an installed package."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the weights and of the optimizer's state."""


class DataConfig(Section):
    path: str | None = None
    """Where all splits are: `hub:ID`, or a folder with train/dev/test files or a saved `datasets` folder."""
    train: str | None = None
    """The training file; wins over `path`."""
    dev: str | None = None
    """The file evaluated after every epoch; wins over `path`."""
    test: str | None = None
    """The file evaluated once, at the end; wins over `path`."""
    format: Literal["auto", "conll", "jsonl", "csv", "tsv", "text", "parquet"] = "auto"
    """How files are read; `auto` goes by the file's ending."""
    columns: dict[str, str | int] = Field(default_factory=dict)
    """Columns by what they hold, where they go by other names than usual: `{tokens: words, tags: iob}` for words and
    tags, `{text: review, label: stars}` for texts and labels. Numbers, from 1, if a CSV or TSV file has no header."""
    labels: tuple[str, ...] = ()
    """Labels that the model is to have beside those of train, where it will meet them later."""
    replay: ReplayConfig | None = None
    """Rows of sets that the model has learnt already, mixed into those of train."""
    iob: Literal["strict", "repair"] = "strict"
    """What to do with an I- tag that opens an entity: refuse it, or turn it into B- and count it."""
    shards: int = Field(default=2, ge=1)
    """How many data-shard actors read and tokenise the data."""
    max_length: int = Field(default=512, ge=8)
    """Longest input in sub-words; what is longer goes on in further examples where the task can, else it is cut off,
    and both are counted."""
    packing: bool = False
    """Whether short texts that are learnt (`causal-lm`) stand side by side in rows of up to `max_length` sub-words.
    None looks into another, and the loss is the same."""
    memory: Annotated[int | None, BeforeValidator(partial(byte_size, least=LEAST_MEMORY))] = None
    """What each data shard may take for its data, such as 64MB: it is read as a stream, and held on disk. As much as
    there is, and in memory, when left out. The result is the same."""
    scratch: str | None = None
    """The folder for that, on a disk of the data shards' nodes; the system's for temporary files when left out."""


def _class_weights(value: object) -> object:
    """Refuse in one sentence; of a union pydantic would tell once for each of its members."""
    if value is None or value == "balanced":
        return value
    if not isinstance(value, dict) or not value:
        raise PydanticCustomError("class_weights", "give `balanced`, or numbers by label, such as {O: 0.3, B-PER: 2}")
    for label, weight in value.items():
        if not isinstance(label, str):
            kind = type(label).__name__
            raise PydanticCustomError("class_weights", f"the label {label!r} is a {kind} to YAML; put it in quotes")
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not 0 < weight < math.inf:
            raise PydanticCustomError("class_weights", f"the weight of {label!r} should be a number above 0 and finite")
    return value


class TrainConfig(Section):
    task: str = "token-classification"
    """What is learnt; see pipelines/tasks."""
    epochs: int = Field(default=5, ge=1)
    patience: int | None = Field(default=None, ge=1)
    """Ends the run when so many epochs have gone by without a better score on dev, and takes the best weights that it
    had; the learning rate falls as if all `epochs` were to come."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stops after this many steps, whatever the epochs say."""
    batch_size: int = Field(default=16, ge=1)
    """Examples in one batch."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients make one step."""
    micro_batches: Annotated[int, Field(ge=1)] | Literal["auto"] = 4
    """Pieces of about equal padded size that a batch is split into, to keep every stage busy. `auto`: with
    `plan.stages: auto` the number that is planned to be best, else 4. Sums and dropout masks depend on it."""
    token_budget: int = Field(default=4096, ge=8)
    """Most padded tokens in one micro-batch; a batch that needs more pieces for it gets more."""
    optimizer: str = "adamw"
    """See pipelines/train/optimizers.py."""
    learning_rate: float = Field(default=2e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    """Not applied to biases and norms."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from 0."""
    decay: Literal["linear", "cosine", "constant", "rising"] = "linear"
    """How the learning rate falls after the warm-up. `rising`, for jobs.rates: it rises from a hundred-thousandth, by
    the same factor in every step."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """What a block's learning rate is multiplied by for each block between it and the head; 1: all learn alike."""
    clip: float | None = Field(default=1.0, gt=0)
    """Largest global norm of the gradients; `null` for none."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of every target that is spread over all classes alike, the true one among them."""
    class_weights: Annotated[dict[str, float] | Literal["balanced"] | None, BeforeValidator(_class_weights)] = None
    """What a target counts by its label, such as `{O: 0.3, B-PER: 2}`; 1 where nothing is said. `balanced`: the inverse
    of how often the label is a target of the training split, so that all labels together count alike."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the matrix products (autocast); weights keep `model.dtype`."""
    loss_scale: float | None = Field(default=None, ge=1)
    """What the loss is multiplied by at first with `precision: float16`; 65536 when left out. Found anew as it goes."""
    poisoned: Literal["stop", "skip"] = "stop"
    """What becomes of a step with a loss or a gradient that is NaN or infinite. It changes no weight, and the run tells
    in which unit and micro-batch that began; `stop` ends the run there, `skip` goes on with the next step, until 10
    were left out in a row. Where float16 overflows, the loss scale is lowered."""
    recompute: bool | Literal["auto"] = False
    """Keeps only what goes into each block for its backward and runs the block again there: less memory, more time.
    `auto`: with `plan.stages: auto` only if the model fits no other way, else false."""
    temperature: float = Field(default=0.05, gt=0)
    """Of `sentence-embedding`: what cosines are divided by; the lower, the more the likest of the others weigh."""
    mask_probability: float = Field(default=0.15, gt=0, lt=1)
    """Share of the sub-words that `masked-lm` hides and asks for."""
    max_new_tokens: int = Field(default=128, ge=0)
    """Most sub-words of a text that is written for the test split, where the task is to write; 0 writes none."""
    generate: bool = False
    """Write texts for the dev split too, after every epoch: they take many forward passes."""
    distil: DistilConfig | None = None
    """Learns from the answers of another model, too."""
    adversarial: AdversarialConfig | None = None
    """Every step runs a second time with the table of sub-word embeddings moved to where the loss is higher."""
    contrastive: ContrastiveConfig | None = None
    """Rows of one label are to be represented alike, and unlike those of other labels."""
    ewc: EwcConfig | None = None
    """Elastic weight consolidation: holds back the weights that mattered for what the model has learnt already."""
    freeze: tuple[str, ...] = ()
    """Patterns (`*`, `?`) of fully qualified parameter names that stay as they are, for example `*.embeddings.*`."""
    keep_zeros: bool = False
    """Weights of linear layers that are zero stay zero, as in a model whose single weights were pruned."""


class TrackConfig(Section):
    uri: str | None = None
    """MLflow tracking server; MLFLOW_TRACKING_URI, or else `sqlite` in `runs/mlflow.db`, when left out."""
    experiment: str | None = None
    """The run's name when left out."""
    register_as: str | None = None
    """The registered model's name; the run's name when left out."""
    alias: str = "champion"
    """The alias that the new version gets."""
    system_metrics: bool = True
    """Log CPU, memory, disk and network of the driver's machine."""


MOST_PROBLEMS = 10
"""How many are told at once."""

_SHORT = {"model": "source", "adapter": "method"}
"""Sections that may be written as one word, and the key that it stands for."""


def _spelt_out(section: str) -> BeforeValidator:
    return BeforeValidator(lambda value: {_SHORT[section]: value} if isinstance(value, str) else value)


class Config(Section):
    run: RunConfig = RunConfig()
    model: Annotated[ModelConfig, _spelt_out("model")] = ModelConfig()
    adapter: Annotated[AdapterConfig | None, _spelt_out("adapter")] = None
    """Trains an adapter in place of the whole model; a word is short for its `method`."""
    data: DataConfig = DataConfig()
    continual: ContinualConfig | None = None
    """For `jobs.continual` only: data sets that are learnt one after the other."""
    train: TrainConfig = TrainConfig()
    plan: PlanConfig = PlanConfig()
    devices: dict[str, DeviceConfig] = Field(default_factory=dict)
    """How stages compute, by type of device (`cpu`, `gpu`, or a type's own name, which goes before these two)."""
    energy: EnergyConfig = EnergyConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    track: TrackConfig = TrackConfig()
    serve: ServeConfig = ServeConfig()

    def to_yaml(self) -> str:
        """The resolved configuration; `load_config` reads it back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def known_keys() -> list[str]:
    """Every key in dotted form, in the order of the classes above."""
    return list(_keys(Config))


def from_overrides(overrides: Sequence[str]) -> Config:
    """The defaults with `key=value` overrides.

    Raises:
        UserError: as `load_config`.
    """
    return _validated({}, overrides, "of these settings")


def load_config(source: str, overrides: Sequence[str] = (), *, packaged: Path | None = None) -> Config:
    """Read a YAML file (a path, or the name of one in the folder `packaged`) and apply `key=value` overrides.

    Raises:
        UserError: no such file, not YAML, an unknown key (the nearest known one is named), or a value
            of the wrong kind.
    """
    path = _find(source, packaged)
    try:
        tree = parse(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"The config {path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise UserError(f"The config {path} is not valid YAML: {reason(error)}.") from None
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise UserError(
            f"The config {path} holds a {type(tree).__name__} where sections (run, model, data, ...) belong."
        )
    return _validated(tree, overrides, str(path))


def _validated(tree: dict[str, Any], overrides: Sequence[str], path: str) -> Config:
    for override in overrides:
        _apply(tree, override)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError(_explain(error, path)) from None


def _find(source: str, packaged: Path | None) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    known = {} if packaged is None else {p.stem: p for p in sorted(packaged.glob("*.yaml"))}
    if source in known:
        return known[source]
    names = f", or one of the packaged configs: {', '.join(known)}" if known else ""
    raise UserError(f"There is no config {source!r}: give the path of a YAML file{names}.")


def _apply(tree: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise UserError(f"{shown(override)} is not an override. Write key=value, for example train.epochs=3.")
    try:
        value = parse(text)
    except yaml.YAMLError as error:
        raise UserError(
            f"The value of the override {shown(override)} is not valid YAML ({reason(error)}); put it in quotes."
        ) from None
    *parents, leaf = key.split(".")
    node = tree
    for parent in parents:
        child = node.get(parent, {})
        if isinstance(child, str) and parent in _SHORT:
            child = {_SHORT[parent]: child}
        if not isinstance(child, dict):
            raise UserError(
                f"The override {shown(override)} goes below {shown(parent)}, which is a value and not a section."
            )
        # A copy: in the file, an alias may stand for the same section elsewhere.
        node[parent] = node = dict(child)
    node[leaf] = value


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        # A section that may be left out is one of several types, and one that there is by name the last of a dict's.
        kinds = [k for k in (field.annotation, *get_args(field.annotation)) if isinstance(k, type)]
        # Sections in a row have no names to set one by.
        in_a_row = get_origin(field.annotation) is tuple
        if (parts := [kind for kind in kinds if issubclass(kind, BaseModel)]) and not in_a_row:
            named = "NAME." if get_origin(field.annotation) is dict else ""
            yield from _keys(parts[0], f"{prefix}{name}.{named}")
        else:
            yield f"{prefix}{name}"


def _explain(error: ValidationError, path: str) -> str:
    parts = []
    problems = error.errors()
    for problem in problems[:MOST_PROBLEMS]:
        key = ".".join(str(step) for step in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = [*known_keys(), *Config.model_fields]
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            parts.append(f"there is no key {shown(key)}; did you mean {near!r}?")
        else:
            parts.append(f"{shown(key)} is {shown(problem['input'])}: {problem['msg'][0].lower()}{problem['msg'][1:]}.")
    if len(problems) > MOST_PROBLEMS:
        parts.append(f"There are {len(problems) - MOST_PROBLEMS} more faults.")
    return f"The config {path} cannot be used: " + " ".join(parts)
