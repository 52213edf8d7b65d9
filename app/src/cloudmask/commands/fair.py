"""cloudmask-fair: descriptions for archives and catalogues."""

import argparse
import sys
from pathlib import Path

from cloudmask.commands import run
from cloudmask.commands.command_parser import command_parser
from cloudmask.scenes import dataset
from cloudmask.system.text import plural

EPILOG = """\
examples:
  cloudmask-fair crate runs/paper-1
  cloudmask-fair crate runs/paper
  cloudmask-fair croissant data --patches patches.h5 --out croissant.json

`crate` makes the folder of a finished run, or of an experiment, an RO-Crate; `croissant` describes
the scenes of a data set, their arrays, bands and checksums, and a patch store made of them. Each
replaces an earlier description of its own, and no other file.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("fair", EPILOG)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    crate = verbs.add_parser("crate", help="RO-Crate of a run or an experiment")
    crate.add_argument(
        "folder", type=Path, metavar="DIR", help="run directory, or folder of an experiment"
    )
    croissant = verbs.add_parser("croissant", help="Croissant description of scenes")
    croissant.add_argument("folder", type=Path, metavar="DIR", help="folder of scenes")
    croissant.add_argument(
        "--out", type=Path, required=True, metavar="FILE.json", help="output file"
    )
    croissant.add_argument("--patches", type=Path, metavar="FILE.h5", help="also this patch store")
    croissant.add_argument(
        "--name",
        default="",
        metavar="NAME",
        help=f"name of the data set (default: {dataset.NAME} if all scenes are of it, else the "
        "folder's)",
    )
    croissant.add_argument(
        "--license",
        "--licence",
        default="unknown",
        metavar="URL",
        help="license of the data; the public data set states none with its files",
    )
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: _describe(parser().parse_args()))


def _describe(arguments: argparse.Namespace) -> None:
    if arguments.verb == "crate":
        from cloudmask.publication import crate

        print(f"RO-Crate: {crate.describe(arguments.folder)}")
        return
    from cloudmask.errors import InputError
    from cloudmask.publication import croissant
    from cloudmask.system.output import require_file_name

    require_file_name(arguments.out)  # The scenes' checksums take long.
    scenes = sorted(arguments.folder.rglob("S3A*.hdf"))
    if not scenes:
        raise InputError(f"{arguments.folder}: no scenes (S3A*.hdf) in it")
    data = croissant.DataSet(
        arguments.folder, scenes, arguments.name, arguments.license, arguments.patches
    )
    croissant.describe(data, arguments.out)
    print(f"Croissant: {arguments.out}, {plural(len(scenes), 'scene')}")


if __name__ == "__main__":
    sys.exit(main())
