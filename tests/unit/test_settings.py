"""Configurations: defaults, files, overrides, and errors that name key and allowed values."""

from pathlib import Path

import pytest
import yaml

from cloudmask.config.settings import Config, load_config
from cloudmask.errors import InputError

CONFIGS = sorted((Path(__file__).parents[2] / "app" / "configs").glob("*.yaml"))


def test_defaults_are_the_papers():
    config = Config()
    assert (config.seed, config.data.split, config.data.split_seed) == (1234, 0.8, 42)
    training = config.training
    assert (training.epochs, training.batch_size, training.learning_rate) == (200, 32, 1e-3)
    assert config.model.filters == 32
    assert (config.early_stopping.patience, config.early_stopping.monitor) == (25, "val_loss")
    assert load_config(CONFIGS[0].parent / "paper.yaml") == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path):
    assert load_config(path).name == path.stem


def test_resolved_configuration_reads_back(tmp_path):
    config = load_config(None, ["training.epochs=7", "training.learning_rate=1e-4"])
    path = tmp_path / "c.yaml"
    path.write_text(config.to_yaml())
    assert load_config(path) == config
    assert load_config(path).sha256() == config.sha256() != Config().sha256()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epoch=5", ["training.epoch", "did you mean epochs?", "batch_size (32)"]),
        ("trainig.epochs=5", ["trainig", "did you mean training?"]),
        ("training.epochs=0", ["training.epochs", "greater than 0", "found 0"]),
        ("training.epochs=ten", ["training.epochs", "integer", "found 'ten'"]),
        ("training.epochs=1.5", ["training.epochs", "integer"]),
        ("training.precision=half", ["training.precision", "'bfloat16'", "found 'half'"]),
        ("data.split=1.0", ["data.split", "less than 1"]),
        ("training.learning_rate=.nan", ["training.learning_rate", "finite"]),
        ("name=a/b", ["name", "pattern"]),
        ("seed", ["--set seed", "section.key=value"]),
        ("seed.x.y=1", ["seed"]),
        ("training=[1", ["not valid YAML"]),
    ],
)
def test_wrong_settings_are_named(override, words):
    with pytest.raises(InputError) as caught:
        load_config(None, [override])
    for word in words:
        assert word in str(caught.value)


def test_all_errors_at_once(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"seed": -1, "training": {"epochs": "x"}, "colour": 1}))
    with pytest.raises(InputError) as caught:
        load_config(path)
    lines = str(caught.value).split("\n")
    assert lines[0] == f"{path}: 3 settings cannot be used:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "seed",
        "training.epochs",
        "colour",
    ]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("- a\n", "holds a list"),
        ("a: [", "not valid YAML"),
        ("!!python/object/apply:os.system [true]", "not valid YAML"),
        ("\x00", "not valid YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_damaged_files_are_named(tmp_path, text, word):
    path = tmp_path / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=word) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file():
    with pytest.raises(InputError, match=r"nowhere.yaml: no such file"):
        load_config("nowhere.yaml")


def test_contradictory_settings_are_named_together():
    with pytest.raises(InputError) as caught:
        load_config(None, ["training.warmup_epochs=3", "training.epochs=3"])
    assert "expected schedule: cosine" in str(caught.value)
    with pytest.raises(InputError, match=r"warmup_epochs: 3 leaves nothing of epochs: 3"):
        load_config(
            None,
            ["training.warmup_epochs=3", "training.epochs=3", "training.schedule=cosine"],
        )


def test_the_moving_average_has_two_names(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("training: {averaging: 0.5}\n")
    config = load_config(path, ["training.ema_decay=0.9"])
    assert config.training.averaging == 0.9
    assert "averaging: 0.9" in config.to_yaml(), "a run's files keep the name they have"
    path.write_text("training: {averaging: 0.5, ema_decay: 0.9}\n")
    with pytest.raises(InputError, match="averaging and ema_decay are one setting"):
        load_config(path)


def test_every_setting_is_described():
    for section in [Config, *(field.annotation for field in Config.model_fields.values())]:
        for name, field in getattr(section, "model_fields", {}).items():
            is_section = hasattr(field.annotation, "model_fields")
            assert field.description or (is_section and field.annotation.__doc__), name
