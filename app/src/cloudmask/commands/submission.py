"""cloudmask-submission: finished runs to an MLCommons Science submission."""

import argparse
import sys
from pathlib import Path

from cloudmask.commands import run
from cloudmask.commands.command_parser import command_parser

EPILOG = """\
examples:
  cloudmask-submission runs/paper --out submission
  cloudmask-submission runs/paper/0* --out submission --descriptor best --best

The runs must be finished, with inference over whole scenes, from committed code, with one
configuration that names who submits (submission.organization, .name, .user, .email), on one system,
and with compliant logs. Their inference scenes must be the 100 of the public data set, none of
which the training saw, or be declared as what they are (--other-data). What is missing is listed.

Give all runs that were made, or the folder of the experiment: with --best the best one is submitted
and declared as the best of so many.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("submission", EPILOG)
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="run directory, or folder of an experiment",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument("--descriptor", default="paper", metavar="NAME", help="last folder's name")
    parser.add_argument(
        "--other-data",
        metavar="TEXT",
        help="what the data are, if not the benchmark's: declared in the submission",
    )
    parser.add_argument(
        "--scene-list",
        type=Path,
        metavar="FILE.csv",
        help="scenes.csv of cloudmask-data: the inference scenes must be those of it",
    )
    parser.add_argument("--best", action="store_true", help="submit the best of the runs alone")
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: _submit(parser().parse_args()))


def _submit(arguments: argparse.Namespace) -> None:
    from cloudmask.publication import submission
    from cloudmask.publication.eligibility import DataClaim

    claim = DataClaim(arguments.other_data, arguments.scene_list)
    folder = submission.write(
        arguments.runs, arguments.out, arguments.descriptor, arguments.best, claim
    )
    print(f"submission: {folder}")
    for path in sorted(folder.iterdir()):
        print(f"  {path.name}")


if __name__ == "__main__":
    sys.exit(main())
