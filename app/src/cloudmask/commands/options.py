"""Options that several commands have, spelled and described in one way."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudmask.evaluate.sources import NetworkSource
    from cloudmask.scenes.raw import ReadOptions

CALIBRATIONS = ("auto", "as-stored", "003", "005")


def add_channels(parser: argparse.ArgumentParser, calibration: str) -> None:
    """What to do about the channels of scenes; `calibration`: what "auto" stands for."""
    parser.add_argument(
        "--missing-channels",
        choices=("error", "zero"),
        default="error",
        help="a channel that should be there and is not: refuse the scene, or go on with "
        "reflectance 0 (270 K in S7 to S9)",
    )
    parser.add_argument(
        "--calibration",
        choices=CALIBRATIONS,
        default="auto",
        help="calibration of S1 to S6, which changed by 2 to 13 %% with baseline collection 005: "
        f"{calibration} (auto), that of collections 003 and 004, that of 005, or as-stored in "
        "each scene",
    )


def add_cosmetic(parser: argparse.ArgumentParser) -> None:
    """Whether pixels that are no observations of their own have labels."""
    parser.add_argument(
        "--cosmetic",
        choices=("use", "ignore"),
        default="use",
        help="pixels that a product filled from a neighbor or holds twice (about a fifth): use "
        "them, or leave them out of loss and metrics",
    )


def add_network(parser: argparse.ArgumentParser) -> None:
    """Which network: that of a run, a saved one, or the example."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--run",
        type=Path,
        metavar="DIR",
        help="run directory, of a finished run (default: the newest under ./runs)",
    )
    source.add_argument("--model", type=Path, metavar="FILE.keras", help="saved network")
    source.add_argument(
        "--example",
        action="store_true",
        help="a small trained network that comes with the package, and its synthetic scene unless "
        "others are given",
    )


def add_inference(parser: argparse.ArgumentParser) -> None:
    """How whole scenes are run through the network."""
    parser.add_argument(
        "--tiling",
        choices=("whole", "published"),
        help="whole scene at once, or the published 63 overlapping tiles (default: the run's "
        "setting, or whole)",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="precision of the computation; auto: what the device does fast",
    )
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=0.0,
        metavar="GB",
        help="cut scenes into blocks, with exact results, so that the network stays below this "
        "(default: no limit)",
    )


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """From which probability on a pixel is cloud."""
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="a pixel is cloud above this probability (default: the run's setting, or 0.5)",
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """A configuration's file."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE.yaml", help="configuration (default: the paper's)"
    )


def add_set(parser: argparse.ArgumentParser) -> None:
    """Settings on the command line."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting, such as training.epochs=10; may be repeated",
    )


def add_skip_bad(parser: argparse.ArgumentParser) -> None:
    """What to do about scenes that cannot be used."""
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out scenes that cannot be used; list them"
    )


def add_force(parser: argparse.ArgumentParser) -> None:
    """What to do about an earlier result."""
    parser.add_argument(
        "--force", action="store_true", help="move an earlier result of that name aside first"
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Whether anything is done at all."""
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done; change nothing"
    )


def add_runs(parser: argparse._ActionsContainer) -> None:
    """Where the runs of experiments are."""
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of the runs"
    )


def add_index(parser: argparse._ActionsContainer, **options: Any) -> None:
    """Which row of an experiment."""
    parser.add_argument("--index", type=int, metavar="N", help="number of the row", **options)


def add_local(parser: argparse._ActionsContainer, use: str) -> None:
    """Directories of the node's own disk; `use`: what is done with them."""
    parser.add_argument(
        "--local",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help=f"directory of the node's own disk: {use}; may be repeated",
    )


def add_processes(parser: argparse.ArgumentParser) -> None:
    """How many processes work."""
    add_workers(parser, "processes", len(os.sched_getaffinity(0)), "as many as cores")


def add_workers(
    parser: argparse.ArgumentParser,
    what: str,
    default: int,
    rule: str,
    kind: Callable[[str], int] = int,
) -> None:
    """How many of `what` there are at once; `rule`: where the default comes from, if it varies."""
    shown = f"{rule}, here {default}" if rule else default
    parser.add_argument(
        "--workers",
        type=kind,
        default=default,
        metavar="N",
        help=f"{what} at once (default: {shown})",
    )


def network_source(arguments: argparse.Namespace) -> "NetworkSource":
    """The network that the options of `add_network` name, or that of the newest finished run."""
    from cloudmask.evaluate.sources import ExampleNetwork, FileNetwork, RunNetwork, newest_run
    from cloudmask.record.run_directory import RunDirectory

    if arguments.example:
        return ExampleNetwork()
    if arguments.model:
        return FileNetwork(arguments.model)
    if arguments.run:
        return RunNetwork(RunDirectory(arguments.run))
    run = newest_run()
    print(f"no --run or --model given: taking the newest finished run, {run}")
    return RunNetwork(run)


def read_options(arguments: argparse.Namespace) -> "ReadOptions":
    """What the options say about reading scenes; the labels are named apart."""
    from cloudmask.scenes.raw import ReadOptions

    return ReadOptions(
        labels=None,
        missing_channels=arguments.missing_channels,
        cosmetic=getattr(arguments, "cosmetic", "use"),
    )
