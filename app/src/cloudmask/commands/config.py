"""cloudmask-config: what can be set, and what a file sets."""

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmask.commands import run
from cloudmask.commands.command_parser import command_parser
from cloudmask.commands.options import add_set

if TYPE_CHECKING:
    from pydantic import BaseModel

EPILOG = """\
examples:
  cloudmask config
  cloudmask config app/configs/paper.yaml
  cloudmask config app/configs/fast.yaml --set training.epochs=10
  cloudmask config --experiment paper
  cloudmask config --site greene
  cloudmask config --keys slurm

Without arguments: all settings of a run, with type, limits, default and meaning. Of a file it
prints all that it sets, defaults included, as YAML; its content says whether it is a
configuration, an experiment or a site. docs/configuration.md has all keys as tables.
"""
WIDEST = 100
SITE_KEYS = ("executor", "gpus", "hosts")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("config", EPILOG)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE.yaml",
        help="configuration, experiment file or site file",
    )
    what.add_argument(
        "--experiment", metavar="EXPERIMENT", help="experiment file, or the name of one"
    )
    what.add_argument("--site", metavar="SITE", help="site file or its name")
    what.add_argument(
        "--keys",
        choices=("run", "experiment", "slurm", "lsf", "ssh"),
        help="what can be set: of a run, in an experiment file, in a site file of that executor "
        "(default: run, where no file is given)",
    )
    add_set(parser)
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: print(_text(parser().parse_args())))


def _text(arguments: argparse.Namespace) -> str:
    from cloudmask.errors import InputError

    kind, path = _found(arguments)
    if arguments.set and (kind != "run" or arguments.keys):
        raise InputError("--set: expected with a configuration of a run")
    if path and kind == "experiment":
        return _experiment(path)
    if path and kind == "site":
        return _site(path)
    if path or arguments.set:
        return _configuration(path, arguments.set)
    return _keys(arguments.keys or "run")


def _found(arguments: argparse.Namespace) -> tuple[str, Path | None]:
    """What is to be shown, and its file; raises InputError if there is none."""
    if arguments.experiment:
        from cloudmask.experiments import experiment

        return "experiment", experiment.find(arguments.experiment)
    if arguments.site:
        from cloudmask.experiments import sites

        return "site", sites.find(arguments.site)
    if arguments.file:
        from cloudmask.config.yaml_model import read_yaml

        return _kind(read_yaml(arguments.file)), arguments.file
    return "run", None


def _kind(tree: Mapping[str, Any]) -> str:
    """What a YAML file is, by the keys that it holds."""
    from cloudmask.config.settings import Config
    from cloudmask.experiments.experiment import ExperimentFile

    if any(key in tree for key in SITE_KEYS):
        return "site"
    # `experiment` holds the parameters of cloudmesh-ee.
    own = {*ExperimentFile.model_fields, "experiment"} - {*Config.model_fields}
    return "experiment" if any(key in tree for key in own) else "run"


def _keys(kind: str) -> str:
    from cloudmask.config.document import model_text

    model: type[BaseModel]
    if kind == "run":
        from cloudmask.config.settings import Config as model

        title = "Settings of a run (--config FILE.yaml, --set KEY=VALUE)"
    elif kind == "experiment":
        from cloudmask.experiments.experiment import ExperimentFile as model

        title = "Keys of an experiment file"
    else:
        model, title = _site_model(kind), f"Keys of a site file for {kind}"
    width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    return f"{title}\n\n{model_text(model, width)}".rstrip()


def _configuration(path: Path | None, overrides: list[str]) -> str:
    from cloudmask.config.settings import load_config

    config = load_config(path, overrides)
    return f"# Configuration: {path or 'defaults'}\n{config.to_yaml()}".rstrip()


def _experiment(path: Path) -> str:
    """The file's keys; then, as a second document, the configuration that its rows change."""
    from cloudmask.config.settings import make_config
    from cloudmask.config.yaml_model import make_model, read_yaml
    from cloudmask.experiments.experiment import ExperimentFile, load_experiment

    found = load_experiment(path)
    tree = read_yaml(path)
    if "experiment" in tree:
        keys: dict[str, Any] = {"name": found.name, "include": found.rows}
        title = f"# Experiment of cloudmesh-ee, as rows: {path}"
    else:
        keys = make_model({"name": path.stem} | tree, ExperimentFile, str(path)).model_dump()
        title = f"# Experiment: {path}"
    rows = f"# Rows: {len(found.rows)}, which cloudmask grid plan lists"
    base = make_config(found.base, str(path)).to_yaml()
    return (
        f"{title}\n{rows}\n{_yaml(keys)}---\n# Configuration that the rows change\n{base}".rstrip()
    )


def _site(path: Path) -> str:
    from cloudmask.experiments import sites
    from cloudmask.experiments.executors import executor_of

    site = sites.read(path, _site_model(executor_of(path)))
    return f"# Site: {path}\n{_yaml(site.model_dump())}".rstrip()


def _site_model(executor: str) -> Any:
    """What a site file of that executor may hold."""
    from cloudmask.experiments.executors import EXECUTORS

    return EXECUTORS[executor].site_model


def _yaml(tree: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)
