"""cloudmask-prepare: scenes to patch store."""

import argparse
import signal
from pathlib import Path

from cloudmask.commands import print_left_out, run
from cloudmask.commands.command_parser import command_parser
from cloudmask.commands.options import add_channels, add_cosmetic, add_processes, add_skip_bad
from cloudmask.system import signals
from cloudmask.system.text import plural

EPILOG = """\
examples:
  cloudmask-prepare --scenes data/training --out patches.h5
  cloudmask-prepare --scenes S3A_SL_1_RBT_....SEN3 --out patches.h5 --labels summary
  cloudmask-prepare --verify patches.h5

Scenes are HDF5 files of the published layout (*.hdf) or Sentinel-3 SLSTR Level-1 products (*.SEN3,
*.SEN3.zip). Each gives 4 x 5 patches of 256 x 256 pixels from its middle. After an interruption the
same command continues; the file appears under its name only when it is complete.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("prepare", EPILOG)
    parser.add_argument("--scenes", nargs="+", metavar="PATH", help="scenes: folders or files")
    parser.add_argument("--out", type=Path, metavar="FILE.h5", help="patch store to write")
    parser.add_argument(
        "--verify",
        type=Path,
        metavar="FILE.h5",
        help="read a whole patch store and compare it with its checksums; changes nothing",
    )
    parser.add_argument(
        "--dtype",
        choices=("float16", "float32"),
        default="float16",
        help="type of the stored values",
    )
    parser.add_argument(
        "--labels",
        "--truth",
        choices=("bayes", "summary"),
        default="bayes",
        help="label source: the Bayesian mask or the summary cloud flag",
    )
    parser.add_argument(
        "--nan",
        choices=("ignore", "fill", "error"),
        default="ignore",
        help="pixels without a measurement: leave out of loss and metrics, count them as "
        "measured, or refuse the scene",
    )
    add_cosmetic(parser)
    add_channels(parser, "that of the scenes, which have to agree")
    add_skip_bad(parser)
    add_processes(parser)
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: _dispatch(parser().parse_args()))


def _dispatch(arguments: argparse.Namespace) -> None:
    if arguments.verify:
        _verify(arguments)
    else:
        _prepare(arguments)


def _verify(arguments: argparse.Namespace) -> None:
    from cloudmask.errors import InputError
    from cloudmask.patches.verification import verify

    if arguments.scenes or arguments.out:
        raise InputError("--verify: expected without --scenes and --out")
    store = verify(arguments.verify, arguments.workers)
    rows = len(store.rows(range(len(store.scenes))))
    found = f"{plural(rows, 'patch', 'patches')} of {plural(len(store.scenes), 'scene')}"
    verdict = "unchanged" if store.checksums is not None else "all values finite"
    print(f"{store.path}: {found}, {verdict}; checksum {store.checksum}")
    if store.checksums is None:
        print("made by an older version, which stored no checksums of the patches")


def _prepare(arguments: argparse.Namespace) -> None:
    from cloudmask.errors import InputError
    from cloudmask.patches.prepare import PrepareOptions, prepare
    from cloudmask.scenes.finding import find_scenes

    if not arguments.scenes or not arguments.out:
        raise InputError("expected --scenes and --out, or --verify")
    with signals.interrupted_by(
        signal.SIGTERM, message=f"{arguments.out}: the same command continues"
    ):
        scenes = find_scenes(arguments.scenes, part="training")
        print(f"{plural(len(scenes), 'scene')} found")
        options = PrepareOptions(
            dtype=arguments.dtype,
            labels=arguments.labels,
            nan=arguments.nan,
            missing_channels=arguments.missing_channels,
            cosmetic=arguments.cosmetic,
            calibration=arguments.calibration,
        )
        summary = prepare(scenes, arguments.out, options, arguments.workers, arguments.skip_bad)
    for note in summary.notes:
        print(note)
    if summary.resumed:
        print(f"{plural(summary.resumed, 'scene')} done by an earlier attempt")
    print(
        f"{arguments.out}: {plural(summary.patches, 'patch', 'patches')} of "
        f"{plural(summary.scenes, 'scene')}, "
        f"{summary.bytes / 1e9:.2f} GB, {summary.cloud_fraction:.1%} cloud, "
        f"{summary.invalid_fraction:.2%} without measurement"
    )
    print_left_out(summary.bad)
