"""cloudmask-stage: bring data of an overlay onto a fast disk of this machine."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmask.commands import run
from cloudmask.commands.command_parser import command_parser
from cloudmask.commands.options import add_local, add_workers
from cloudmask.system import signals

if TYPE_CHECKING:
    from cloudmask.overlay.node_cache import NodeCopy

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

EPILOG = """\
examples:
  cloudmask-stage share patches.ext3 --local /localscratch/$USER --local $TMPDIR
  cloudmask-stage extract patches.ext3 --out $TMPDIR/patches.h5
  cloudmask-stage extract patches.ext3 --path /data/inference/S3A_….hdf --out $TMPDIR/scene.hdf
  apptainer exec --bind $TMPDIR/patches.h5:/data/patches.h5:ro cloudmask.sif …

Files are copied straight from their blocks in the image, without mounting it, and compared with the
checksums of the manifest beside the image while they are copied.

`share` keeps one copy of all the overlay's files per node: the first task copies, others wait for
it or find it. It prints three lines (folder with the files, empty if they are to be read from the
overlay; the task's folder for temporary files; a record in JSON) and keeps the copy until its
standard input ends or it gets SIGTERM. The last task on the node removes it, unless its standard
input ended with the line "keep", since another task is to come.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("stage", EPILOG)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    extract = verbs.add_parser(
        "extract",
        help="one file of an overlay image, as a plain file",
        epilog=EPILOG,
    )
    extract.add_argument("image", type=Path, metavar="FILE.ext3", help="overlay image")
    extract.add_argument("--out", type=Path, required=True, metavar="FILE", help="output file")
    extract.add_argument(
        "--path",
        default="/data/patches.h5",
        metavar="PATH",
        help="which file, by its path in the container",
    )
    share = verbs.add_parser(
        "share",
        help="all files of an overlay image, once per node, for as long as this command runs",
        epilog=EPILOG,
    )
    share.add_argument("image", type=Path, metavar="FILE.ext3", help="overlay image")
    for verb in (extract, share):
        # More than cores on a small machine: some wait for the disk while others compute.
        threads = max(4, min(16, len(os.sched_getaffinity(0))))
        add_workers(verb, "threads", threads, "as many as cores, from 4 to 16")
    clean = verbs.add_parser(
        "clean", aliases=["sweep"], help="remove copies that tasks of yours left when they died"
    )
    clean.add_argument(
        "--kept", action="store_true", help="remove also those kept for a task to come"
    )
    for verb in (share, clean):
        add_local(verb, "the first with enough room is taken")
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: _dispatch(parser().parse_args()))


def _dispatch(arguments: argparse.Namespace) -> None:
    VERBS[arguments.verb](arguments)


def _extract(arguments: argparse.Namespace) -> None:
    from cloudmask.overlay import extract, manifest
    from cloudmask.system.output import file_claimed, require_file_name

    expected = manifest.read(arguments.image).content(arguments.path)
    if manifest.is_copy(arguments.out, expected, arguments.workers):
        print(f"{arguments.out}: there already, {expected.size / 1e9:.2f} GB, checksum verified")
        return
    require_file_name(arguments.out)
    with file_claimed(arguments.out):
        done = extract.extract(arguments.image, expected, arguments.out, arguments.workers)
    print(
        f"{arguments.out}: {done.bytes / 1e9:.2f} GB in {done.seconds:.2f} s, "
        f"{done.rate:.0f} MB/s, checksum verified"
    )


def _share(arguments: argparse.Namespace) -> None:
    from cloudmask.overlay.node_cache import NodeCache

    # The warning before a time limit is meant for the training; some batch systems send it to all.
    # The other signals count while the copy is made and used, and must not disturb its removal.
    signals.ignore(signal.SIGUSR1, *STOP_SIGNALS)
    cache = NodeCache(arguments.image, arguments.local, arguments.workers)
    message = f"{arguments.image}: stop requested; the copy is given back"
    last_words = ""
    try:
        with signals.interrupted_by(*STOP_SIGNALS, message=message):
            copy = cache.open()
            print(f"{copy.data}\n{copy.tmp}\n{json.dumps(copy.as_json())}", flush=True)
            print(_sentence(copy), file=sys.stderr, flush=True)
            last_words = sys.stdin.read()
    finally:
        cache.close(keep=last_words == "keep\n")


def _sentence(copy: "NodeCopy") -> str:
    if not copy.data:
        return (
            f"WARNING: {copy.overlay}: NOT on the node's own disk, {copy.method}, which "
            f"starves a GPU: {copy.reason}"
        )
    size, rate = copy.bytes / 1e9, copy.bytes / 1e6 / max(copy.seconds, 1e-9)
    copied = f" ({size:.2f} GB, {rate:.0f} MB/s, verified)" if copy.bytes else ""
    return f"{copy.data}: {copy.method} in {copy.seconds:.2f} s{copied}"


def _clean(arguments: argparse.Namespace) -> None:
    from cloudmask.overlay.node_cache import clean

    clean(arguments.local, arguments.kept)


VERBS = {"extract": _extract, "share": _share, "clean": _clean, "sweep": _clean}
