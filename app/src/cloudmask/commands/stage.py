"""cloudmask-stage: bring data of an overlay onto a fast disk of this machine."""

import argparse
import os
from pathlib import Path

from cloudmask.commands import run

EPILOG = """\
examples:
  cloudmask-stage extract patches.ext3 --out $TMPDIR/patches.h5
  cloudmask-stage extract patches.ext3 --path /data/inference/S3A_….hdf --out $TMPDIR/scene.hdf
  apptainer exec --bind $TMPDIR/patches.h5:/data/patches.h5:ro cloudmask.sif …

The file is copied straight from its blocks in the image, without mounting it, and compared with the
checksums of the manifest beside the image while it is copied.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="cloudmask-stage",
        description="Bring data of an overlay onto a fast disk of this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="extract")
    extract = verbs.add_parser(
        "extract",
        help="one file of an overlay image, as a plain file",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    extract.add_argument("image", type=Path, metavar="IMAGE.ext3", help="overlay image")
    extract.add_argument("--out", type=Path, required=True, metavar="FILE", help="plain file")
    extract.add_argument(
        "--path",
        default="/data/patches.h5",
        metavar="PATH",
        help="which file, by its path in the container (default: %(default)s)",
    )
    extract.add_argument(
        "--workers",
        type=int,
        # More than cores on a small machine: some wait for the disk while others compute.
        default=max(4, min(16, len(os.sched_getaffinity(0)))),
        metavar="N",
        help="threads (default: as many as cores, from 4 to 16; here %(default)s)",
    )
    return parser


def main() -> int:
    """Entry point."""
    arguments = parser().parse_args()
    return run(lambda: _extract(arguments))


def _extract(arguments: argparse.Namespace) -> None:
    from cloudmask import staging
    from cloudmask.overlay import manifest

    expected = manifest.read(arguments.image).content(arguments.path)
    done = staging.extract(arguments.image, expected, arguments.out, arguments.workers)
    print(
        f"{arguments.out}: {done.bytes / 1e9:.2f} GB in {done.seconds:.2f} s, "
        f"{done.rate:.0f} MB/s, checksum verified"
    )
