from pathlib import Path

import pytest

from pipelines.config import Config, known_keys, load_config
from pipelines.errors import UserError


def write(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    source = write(tmp_path, "train: {epochs: 7, learning_rate: 1e-3}")
    config = load_config(source, ["train.epochs=2", "data.test=null", "plan.devices=[cpu, gpu]"])
    assert (config.train.epochs, config.train.learning_rate, config.train.batch_size) == (2, 1e-3, 16)
    assert config.plan.devices == ("cpu", "gpu")


def test_a_model_may_be_named_by_its_source_alone(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "model: bert-base-cased")).model.source == "bert-base-cased"
    assert load_config(write(tmp_path, "model: a"), ["model=b"]).model.source == "b"
    config = load_config(write(tmp_path, "model: a"), ["model.dtype=float64"])
    assert (config.model.source, config.model.dtype) == ("a", "float64")


def test_class_weights_are_given_by_label_or_by_one_word(tmp_path: Path) -> None:
    source = write(tmp_path, "train: {class_weights: {O: 0.3, B-PER: 2}}")
    assert load_config(source).train.class_weights == {"O": 0.3, "B-PER": 2.0}
    assert load_config(source, ["train.class_weights.O=1"]).train.class_weights == {"O": 1.0, "B-PER": 2.0}
    assert load_config(source, ["train.class_weights=balanced"]).train.class_weights == "balanced"
    config = load_config(source)
    assert load_config(write(tmp_path, config.to_yaml())) == config


@pytest.mark.parametrize(
    ("written", "size"),
    [("64MB", 64_000_000), ("64 MiB", 2**26), ("1.5GiB", 3 * 2**29), ("20000000", 20_000_000), ("17000kb", 17_000_000)],
)
def test_memory_is_given_as_people_write_it(tmp_path: Path, written: str, size: int) -> None:
    config = load_config(write(tmp_path, ""), [f"data.memory={written}"])
    assert config.data.memory == size
    assert load_config(write(tmp_path, config.to_yaml())) == config


def test_a_resolved_config_reads_back_equal(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "run: {name: x}"), ["plan.cut=[2, 3]", "plan.stages=3"])
    assert load_config(write(tmp_path, config.to_yaml())) == config


@pytest.mark.parametrize(
    ("text", "override", "message"),
    [
        ("", "trian.epochs=3", "there is no key 'trian'; did you mean 'train'?"),
        ("", "train.epoch=3", "there is no key 'train.epoch'; did you mean 'train.epochs'?"),
        ("trian: {}", "run.seed=1", "there is no key 'trian'; did you mean 'train'?"),
        ("", "train.epochs=many", "'train.epochs' is 'many': input should be a valid integer"),
        ("", "train.epochs=0", "'train.epochs' is 0: input should be greater than or equal to 1"),
        ("", "train.epochs", "'train.epochs' is not an override. Write key=value"),
        ("", "run.seed.x=1", "'run.seed' is {'x': 1}: input should be a valid integer"),
        ("run: 3", "run.seed=1", "goes below 'run', which is a value and not a section"),
        ("", "train.label_smoothing=1", "'train.label_smoothing' is 1: input should be less than 1"),
        ("", "train.label_smoothing=-0.1", "'train.label_smoothing' is -0.1: input should be greater than or equal to"),
        (
            "",
            "train.class_weights=equal",
            "'train.class_weights' is 'equal': give `balanced`, or numbers by label, such",
        ),
        (
            "",
            "train.class_weights={}",
            "'train.class_weights' is {}: give `balanced`, or numbers by label, such as {O: ",
        ),
        (
            "",
            "train.class_weights={O: 0}",
            "'train.class_weights' is {'O': 0}: the weight of 'O' should be a number above",
        ),
        ("", "train.class_weights={O: .inf}", "the weight of 'O' should be a number above 0 and finite."),
        ("", "train.class_weights={O: true}", "the weight of 'O' should be a number above 0"),
        ("", "train.class_weights={NO: 2}", "the label False is a bool to YAML; put it in quotes."),
        (
            "",
            "devices.gpu.precision=half",
            "'devices.gpu.precision' is 'half': input should be 'float32', 'bfloat16' or",
        ),
        ("", "devices.gpu.optimiser=sgd", "no key 'devices.gpu.optimiser'; did you mean 'devices.NAME.optimizer'?"),
        ("", "devices.cpu.compile=true", "'devices.cpu.compile' is True: stages are not compiled: what they put in"),
        ("", "energy.price={cpu: -1}", "'energy.price.cpu' is -1: input should be greater than or equal to 0"),
        ("- a", "run.seed=1", "holds a list where sections (run, model, data, ...) belong"),
        ("a: [", "run.seed=1", "is not valid YAML"),
        ("run: {seed: 1, seed: 2}", "run.name=x", "the key 'seed' is here a second time"),
        ("", "run.seed=" + "9" * 5000, "is not valid YAML ('9999"),
        ("", "run.name=2020-99-99", "'2020-99-99' cannot be read as timestamp"),
        ("", "train.learning_rate=.inf", "'train.learning_rate' is inf: input should be a finite number"),
        ("", "train.betas=[.nan, 0.9]", "'train.betas.0' is nan: input should be a finite number"),
        ("", "plan.timeout=.inf", "'plan.timeout' is inf: input should be a finite number"),
        (
            "",
            "adapter={method: lora, options: {r: .nan}}",
            "nan (float) should be a text, a finite number, true, false",
        ),
        ("", "adapter={method: lora, options: {r: [2020-01-01]}}", "(date) should be a text, a finite number, true"),
        ("", "adapter={method: lora, options: {r: {2: 3}}}", "the name 2 is not text; put it in quotes"),
        ("", "data.memory=lots", "'data.memory' is 'lots': give a size such as 64MB, 1.5GiB, or a number of bytes."),
        ("", "data.memory=.inf", "'data.memory' is inf: give a size such as 64MB"),
        ("", "data.memory=true", "'data.memory' is True: give a size such as 64MB"),
        ("", "data.memory=64 MBits", "'data.memory' is '64 MBits': give a size such as 64MB"),
        ("", "data.memory=999999999TB", "'data.memory' is '999999999TB': give a size such as 64MB"),
        ("", "data.memory=1MB", "'data.memory' is '1MB': at least 16MB are needed."),
        ("", "data.memory=-5", "'data.memory' is -5: at least 16MB are needed."),
        ("", "plan.stages=1000000000", "input should be less than or equal to 65536"),
        ("train: {freeze: [" + "1, " * 100 + "]}", "run.seed=1", "There are 90 more faults."),
    ],
)
def test_a_wrong_config_is_refused_with_the_place_and_the_remedy(
    tmp_path: Path, text: str, override: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_config(write(tmp_path, text), [override])
    assert message in str(caught.value)


def test_a_refusal_is_short_whatever_it_is_about(tmp_path: Path) -> None:
    long = "x" * 100_000
    for text in (f"run: {{seed: {long}}}", f"run: !{long} 1", f"run: {{seed: 1, {long}: 1}}", f"{long}: 1"):
        with pytest.raises(UserError) as caught:
            load_config(write(tmp_path, text))
        assert len(str(caught.value)) < 1000
    for override in (
        long,
        f"run.seed={long}",
        f"run.{long}.x={{",
        f"run.seed.{long}=1",
        f"run.seed.x.{long}=1",
        "run.seed" + ".x" * 5000 + "=1",
    ):
        with pytest.raises(UserError) as caught:
            load_config(write(tmp_path, "run: {seed: 1}"), [override])
        assert len(str(caught.value)) < 1000


def test_an_override_changes_no_section_that_an_alias_shares_with_it(tmp_path: Path) -> None:
    source = write(tmp_path, "devices: {cpu: &both {threads: 1}, gpu: *both}")
    devices = load_config(source, ["devices.cpu.threads=2"]).devices
    assert (devices["cpu"].threads, devices["gpu"].threads) == (2, 1)


def test_a_config_that_does_not_exist_is_refused_with_the_packaged_ones(tmp_path: Path) -> None:
    write(tmp_path, "")
    with pytest.raises(UserError, match=r"There is no config 'nr': .* packaged configs: config"):
        load_config("nr", packaged=tmp_path)
    assert load_config("config", packaged=tmp_path) == Config()


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"run: {name: \xff}")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        load_config(str(tmp_path / "c.yaml"))


def test_every_packaged_config_is_valid() -> None:
    folder = Path(__file__).parents[3] / "jobs" / "configs"
    for path in folder.glob("*.yaml"):
        load_config(str(path))


def test_keys_are_listed_in_dotted_form() -> None:
    assert {"run.name", "model.source", "data.train", "train.epochs", "plan.stages"} <= set(known_keys())
