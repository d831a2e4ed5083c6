"""Configs: what people write, nearly write, and never meant to write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import Config, known_keys, load_config
from pipelines.preflight import preflight
from tests.fuzz.damage import damaged, damages
from tests.fuzz.trial import Trial, fuzzed
from tests.tiny import write_data, write_model

METHODS = ("lora", "adalora", "ia3", "prefix-tuning", "prompt-tuning", "bottleneck")
OPTIONS = (
    "", "r: 4", "r: 0", "r: -1.5", "r: [1]", "lora_alpha: .nan", "target_modules: [query]", "target_modules: 5",
    "size: 8", "exclude_modules: 5, target_modules: all-linear", "init_lora_weights: [1]", "init_lora_weights: pissa",
    "feedforward_modules: 3", "num_virtual_tokens: x", "num_virtual_tokens: -1", "bias: 1", "init_r: 1, target_r: 8",
    "layers_pattern: a", "use_dora: true", "rank_pattern: 1", "eva_config: 1", "loftq_config: 3",
    "modules_to_save: 7", "tinit: -1", "2: 3", "alpha_pattern: [1]", "target_modules: [1, ~]",
    "target_modules: {a: 1}", "layers_to_transform: x, layers_pattern: 5", "task_type: 5", "r: 2001-01-01",
    "target_parameters: 3", "megatron_config: 1", "trainable_token_indices: a", "peft_type: 1", "target_modules: '('",
)  # fmt: skip
FITTING = {
    "adapter": [f"{{method: {method}, options: {{{options}}}}}" for method in METHODS for options in OPTIONS],
    "adapter.method": list(METHODS),
    "data.format": ["auto", "conll", "jsonl", "csv", "parquet"],
    "data.path": ["data", "data/train.conll", "nowhere", "model", "."],
    "data.train": ["data/train.conll", "data", "config.yaml"],
    "data.dev": ["data/dev.conll", "null"],
    "data.iob": ["repair"],
    "data.packing": ["true", "[1]"],
    "data.memory": ["64MB", "1.5 GiB", "1MB", "17000000"],
    "data.scratch": [".", "nowhere"],
    "data.labels": ["[B-ORG]", "[ORG]", "[O, O]"],
    "data.replay": ["{sets: [data]}", "{sets: [data/train.conll, nowhere], kept: 1}", "{sets: [model]}"],
    "data.replay.sets": ["[data]", "[]"],
    "model.source": ["model", "model/config.json", "package:wheel/x", "data"],
    "model.dtype": ["float64"],
    "train.optimizer": ["adamw", "sgd", "lion", "adafactor"],
    "train.precision": ["float16", "bfloat16"],
    "train.decay": ["cosine"],
    "train.poisoned": ["skip"],
    "train.class_weights": ["balanced", "{O: 0.5}", "{O: .inf}", "{NO: 2}"],
    "train.micro_batches": ["auto", "2"],
    "train.recompute": ["auto", "true"],
    "train.freeze": ["['*']", "[]"],
    "train.keep_zeros": ["true"],
    "train.ewc": ["{importance: model/model.safetensors, strength: 1}", "{importance: data, strength: 2}"],
    "train.adversarial": ["{}", "{epsilon: 0.5}", "{epsilon: 0}"],
    "train.contrastive": ["{}", "{weight: 1, temperature: 0.1}", "{weight: 0}"],
    "train.distil": ["{teacher: model}", "{teacher: data, weight: 1}"],
    "train.ewc.importance": ["model/model.safetensors"],
    "continual": [
        "{sets: [data, data]}",
        "{sets: [data]}",
        "{sets: [data, model], method: ewc}",
        "{sets: [data, data], method: lwf}",
    ],
    "plan.strategy": ["data", "pipeline"],
    "plan.stages": ["auto", "1", "2", "3"],
    "plan.workers": ["[1, 2]", "[2, 1]", "3"],
    "plan.devices": ["cpu", "gpu", "[cpu, gpu]"],
    "plan.cut": ["[2]", "[3, 2]", "[]"],
    "plan.stage_of": ["[0, 1, 0, 1]"],
    "plan.place": ["{encoder: gpu}"],
    "plan.at_most": ["{gpu: 1}"],
    "plan.schedule": ["gpipe", "1f1b", "zero-bubble", "interleaved-1f1b", "eager-1f1b", "synthesised"],
    "plan.minimise": ["energy"],
    "plan.replicas": ["2", "auto"],
    "plan.shares": ["[1, 2]", "[1, .inf]"],
    "plan.sharing": ["async", "bounded"],
    "plan.servers": ["1"],
    "plan.compress": ["int8"],
    "devices.cpu.optimizer": ["lion", "sgd"],
    "devices.gpu.precision": ["float16"],
    "energy.price": ["{cpu: 0.1}"],
    "energy.watts": ["{cpu: {idle: 1, busy: 2}}"],
    "serve.auth": ["none", "key"],
    "serve.keys": ["keys.json", "data"],
    "serve.rate": ["100/min", "0/s"],
    "serve.cors": ["[https://app.example.org]", "['*']"],
    "serve.tls": ["{certificate: a, key: b}"],
    "serve.audit": ["audit.jsonl"],
    "serve.traces": ["{endpoint: http://collector:4318/v1/traces}", "{endpoint: collector, sampling_ratio: 2}"],
    "serve.scale": ["{least: 0, most: 2}", "{least: 3, most: 2}"],
    "serve.plan": ["{stages: 2, devices: [gpu, cpu]}", "{stages: auto}", "{stages: 2, replicas: 2}"],
    "serve.device": ["gpu", "tpu"],
    "serve.labels": ["{ray.io/accelerator-type: A100}", "{a: 1}"],
    "serve.beside": ["[{device: gpu, replicas: 2}]", "[{scale: {least: 0, most: 1}}]", "{device: gpu}"],
    "serve.deadline_seconds": ["0", "5"],
    "serve.follow_seconds": ["0", "5"],
    "serve.golden": ["golden.jsonl", "data"],
    "serve.golden_agreement": ["0.9", "1.5"],
    "serve.trial": ["{min_requests: 5, promote: hand}", "{min_agreement: 2}"],
    "serve.jwt": ["{issuer: i, audience: a, jwks: keys.json}", "{issuer: i, audience: a, jwks: x, algorithms: [none]}"],
    "serve.jwt.algorithms": ["[ES256]", "[HS256]", "[]"],
    "run.output": ["runs/x", "data", "config.yaml", "config.yaml/x", "."],
    "run.name": ["x"],
    "checkpoint.resume": ["data", "nowhere", "config.yaml", "auto", "never"],
    "checkpoint.changes": ["[train.learning_rate]", "[train.batch_size]", "[]"],
    "checkpoint.stop_after": ["1", "0"],
}  # fmt: skip
"""By key: values that mean something there, as YAML."""

ATOMS = (
    "", "~", "null", "true", "no", "0", "1", "2", "-1", "0.5", "1e-5", ".nan", ".inf", "-.inf", "1e999", "9" * 20,
    "9" * 400, "9" * 5000, "-" + "9" * 5000, "0x", "0x" + "f" * 5000, "0x_", "0b_", "0b", "1:2:3", "190:20:30.15",
    "1_000", "_", "._", "+_", "2020-01-01", "2020-99-99", "2020-01-01 25:61:61", "0000-00-00",
    "2001-12-14t21:59:43.10-99:99", "=", "<<", "a", "'a'", '"\\ud800"', '"\\x00"', "''", "é", "[]", "{}", "[1, a, ~]",
    "{a: 1}", "{1: 2}", "{~: 1}", "{[1]: 2}", "{{a: 1}: 2}", "{a: 1, a: 2}", "{<<: 1}", "{<<: [1]}", "{<<: {a: 1}}",
    "*a", "&a 1", "&a [*a]", "&a {a: *a}", "&a {<<: *a}", "!!int x", "!!int 1", "!!float x", "!!bool x", "!!null x",
    "!!timestamp x", "!!binary x", "!!binary aGk=", "!!set {a, b}", "!!omap [a: 1]", "!!omap {a: 1}",
    "!!pairs [a: 1]", "!!str 1", "!!seq {a: 1}", "!!map [1]", "!!python/object/apply:os.getcwd []", "!x 1", "|", ">",
    "%", "@", "`", "!", "&", "*", "[" * 3000, "[" * 400 + "]" * 400, "{a: " * 60 + "1" + "}" * 60, "- - - 1",
    "a" * 5000, "a" * 300 + "/b", "[" + "1," * 3000 + "]", "/", "..", "../beside", "~nobody/x", "hub", "package:",
    "a b",
)  # fmt: skip
"""What a value of any kind could be, as YAML."""

BOMBS = (
    "x: &a0 [1, 1]\n" + "".join(f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
    "x: &a0 {k: 1}\n" + "".join(f"x{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)),
    "adapter: {method: lora, options: &a {r: *a}}\n",
    "train: &t {freeze: [*t]}\n",
    "devices: &d {cpu: *d}\n",
    "? &a [*a]\n: 1\n",
    "a: " + "{a: " * 5000,
    "- " * 5000,
    "%YAML 9.9\n---\nrun: {}\n",
    "run: {}\n---\nrun: {}\n",
)
PATHS = (
    "a" * 300,
    "a/" * 3000,
    "'~nobody/x'",
    '"a\\0b"',
    '"\\ud800"',
    "''",
    "'.'",
    "config.yaml/x",
    "..",
    "é",
    "5",
    '"a\\nb"',
)
"""Odd names of files, as YAML."""
for _key_of_path in ("data.path", "data.train", "model.source", "run.output", "train.ewc.importance"):
    FITTING[_key_of_path] += PATHS
FITTING["data.replay.sets"] += [f"[{path}]" for path in PATHS]
KEYS = known_keys()
SECTIONS = tuple(Config.model_fields)


def _key() -> st.SearchStrategy[str]:
    named = [key.replace("NAME", name) for key in KEYS for name in ("cpu", "gpu") if "NAME" in key or name == "cpu"]
    return st.one_of(
        st.sampled_from(sorted(FITTING)),
        st.sampled_from(named),
        st.sampled_from(
            [
                *SECTIONS,
                "trian.epochs",
                "run.seed.x",
                "model.x.y.z",
                "adapter.options.r",
                ".",
                "a..b",
                "",
                "run.seed" + ".x" * 3000,
            ]
        ),
    )


_FITTING = st.sampled_from(sorted(FITTING)).flatmap(
    lambda key: st.tuples(st.just(key), st.sampled_from(FITTING[key])),
)


@st.composite
def _odd(draw: st.DrawFn) -> tuple[str, str]:
    return draw(_key()), draw(
        st.one_of(
            st.sampled_from(ATOMS),
            st.integers().map(str),
            st.floats().map(repr),
            st.text(max_size=12),
            st.recursive(
                st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
                lambda inner: st.one_of(
                    st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
                ),
                max_leaves=6,
            ).map(json.dumps),
        )
    )


def _as_yaml(settings: list[tuple[str, str]], flow: bool) -> str:
    """The settings as a file has them. What was said twice stays said twice."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for key, value in settings:
        section, _, rest = key.partition(".")
        sections.setdefault(section, []).append((rest, value))
    lines = []
    for section, said in sections.items():
        if said[0][0] == "":
            lines.append(f"{section}: {said[0][1]}")
        elif flow:
            lines.append(f"{section}: {{{', '.join(f'{key}: {value}' for key, value in said)}}}")
        else:
            lines += [f"{section}:", *(f"  {key}: {value}" for key, value in said)]
    return "\n".join(lines) + "\n"


@st.composite
def _configs(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """A file, and the overrides of a command line."""
    kind = draw(st.integers(0, 19))
    # Half of the cases say only what could be meant; else few would get beyond the first setting.
    setting = _FITTING if kind >= 10 else st.one_of(_FITTING, _odd())
    overrides = [f"{key}={value}" for key, value in draw(st.lists(setting, max_size=2))]
    if kind == 0:
        return draw(st.binary(max_size=60)), overrides
    if kind == 1:
        return draw(st.sampled_from(BOMBS)).encode(), overrides
    if kind == 2:
        overrides.append(draw(st.text(max_size=20)))
    raw = _as_yaml(
        draw(st.lists(setting, max_size=4, unique_by=None if kind < 8 else lambda said: said[0])), draw(st.booleans())
    ).encode("utf-8", "surrogatepass")
    return (damaged(raw, draw(damages())) if kind < 8 else raw), overrides


@pytest.fixture
def around(trial: Trial) -> Iterator[Trial]:
    """What a config may name: a model, data, and a folder that is not its business."""
    write_data(trial.given / "data", train=3, dev=1, test=1)
    write_model(trial.given / "model")
    (trial.place / "beside").mkdir()
    with chdir(trial.given):
        yield trial


@fuzzed
@given(_configs(), st.integers(0, 9))
def test_a_config_is_read_or_refused_in_words(around: Trial, case: tuple[bytes, list[str]], turn: int) -> None:
    raw, overrides = case
    path = Path("config.yaml")
    path.write_bytes(raw)
    config = around.read("config", lambda: load_config(str(path), overrides))
    if not isinstance(config, Config):
        return
    if turn == 0:  # most of a case's time
        path.write_text(config.to_yaml(), encoding="utf-8")
        assert load_config(str(path)) == config
    # The hub is no part of this, and who names no data stops there.
    data = {} if config.data.path or config.data.train else {"data": config.data.model_copy(update={"path": "data"})}
    model = {"model": config.model.model_copy(update={"source": "model"})} if not _local(config.model.source) else {}
    meant = config.model_copy(update={**data, **model})
    around.read("preflight", lambda: preflight(meant).folder.release(), holds=True)
    assert not os.path.exists("runs")


def _local(source: str) -> bool:
    return source.startswith(("/", ".", "package:")) or len(source) > 200 or os.path.exists(source)


def test_the_values_that_fit_are_read(around: Trial) -> None:
    """Else the cases above would all end at the first key."""
    for key, values in FITTING.items():
        assert any(name.replace("NAME", kind).startswith(key) for name in KEYS for kind in ("cpu", "gpu"))
        assert values
    Path("config.yaml").write_text("data: {path: data}\nmodel: model\n", encoding="utf-8")
    place = preflight(load_config("config.yaml"))
    place.folder.release()
    assert place.path.is_relative_to(around.given)
