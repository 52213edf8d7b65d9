"""Options that several commands have: how scenes are read, and which network is used."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

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
        help="a channel that should be there and is not: refuse the scene (default), or go on "
        "with reflectance 0 (270 K in S7 to S9)",
    )
    parser.add_argument(
        "--calibration",
        choices=CALIBRATIONS,
        default="auto",
        help="calibration of S1 to S6, which changed by 2 to 13 %% with baseline collection 005: "
        f"{calibration} (default: auto), that of collections 003 and 004, that of 005, or "
        "as-stored in each scene",
    )


def add_cosmetic(parser: argparse.ArgumentParser) -> None:
    """Whether pixels that are no observations of their own have labels."""
    parser.add_argument(
        "--cosmetic",
        choices=("use", "ignore"),
        default="use",
        help="pixels that a product filled from a neighbor or holds twice (about a fifth): use "
        "them (default), or leave them out of loss and metrics",
    )


def add_network(parser: argparse.ArgumentParser) -> None:
    """Which network: that of a run, a saved one, or the example."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--run", type=Path, metavar="DIR", help="finished run")
    source.add_argument("--model", type=Path, metavar="F.keras", help="saved network")
    source.add_argument(
        "--example",
        action="store_true",
        help="a small trained network that comes with the package, and by default its synthetic "
        "scene",
    )


def add_inference(parser: argparse.ArgumentParser) -> None:
    """How whole scenes are run through the network."""
    parser.add_argument(
        "--tiling",
        choices=("whole", "published"),
        help="whole scene at once (default), or the published 63 overlapping tiles",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="default: what the device does fast",
    )
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=0.0,
        metavar="GB",
        help="cut scenes into blocks, with exact results, so that the network stays below this",
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
