"""cloudmask-synth: make scenes that behave like SLSTR's."""

import argparse
import re
from pathlib import Path

from cloudmask.commands import run
from cloudmask.commands.command_parser import command_parser
from cloudmask.commands.options import add_processes

EPILOG = """\
examples:
  cloudmask-synth --out data --train 24 --test 6 --size 512x768     a demo, in seconds
  cloudmask-synth --out data --train 970 --test 100                 as many as the published set

Files go to DIR/training and DIR/inference and have the published layout (refs, bts, bayes,
summary), plus `truth`, the cloud truth that the two masks only approximate. The same seed
gives the same scenes, whatever the number of workers. Files of the same name are replaced.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("synth", EPILOG)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="output folder")
    parser.add_argument(
        "--train", type=int, required=True, metavar="N", help="scenes in DIR/training"
    )
    parser.add_argument(
        "--test", type=int, required=True, metavar="N", help="scenes in DIR/inference"
    )
    parser.add_argument(
        "--size",
        type=_size,
        default="1200x1500",  # as published
        metavar="HxW",
        help="rows x columns, at least 256x256",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="seed of the random numbers"
    )
    add_processes(parser)
    return parser


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, for example 512x768")
    return int(match[1]), int(match[2])


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def main() -> int:
    """Entry point."""
    return run(lambda: _synth(parser().parse_args()))


def _synth(arguments: argparse.Namespace) -> None:
    from cloudmask.scenes.synthetic import check_request, make_scenes
    from cloudmask.system.output import folder_held
    from cloudmask.system.progress import track

    counts = {"training": arguments.train, "inference": arguments.test}
    check_request(counts, arguments.size, arguments.workers)
    with folder_held(arguments.out):
        scenes = make_scenes(
            arguments.out, counts, arguments.size, arguments.seed, arguments.workers
        )
        made = list(track(scenes, sum(counts.values()), "making scenes"))
    cloud = sum(scene.cloud for scene in made) / len(made)
    agreement = sum(scene.agreement for scene in made) / len(made)
    height, width = arguments.size
    print(
        f"{arguments.out}: {arguments.train} training and {arguments.test} inference scenes of "
        f"{height} x {width} pixels, {cloud:.1%} cloud; the mask agrees with the cloud truth on "
        f"{agreement:.1%}"
    )
