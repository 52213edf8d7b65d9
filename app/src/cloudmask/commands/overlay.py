"""make-overlay (cloudmask-overlay): make an overlay image, check one, show who has one open."""

import argparse
import os
import shlex
from pathlib import Path

from cloudmask.commands import run
from cloudmask.commands.command_parser import command_parser
from cloudmask.commands.options import add_dry_run, add_workers

EPILOG = """\
examples:
  overlays/make-overlay patches.h5                        writes patches.ext3
  overlays/make-overlay patches.h5 --scenes data/inference --out /scratch/cloudmask.ext3
  overlays/make-overlay --check patches.ext3 --container cloudmask.sif
  overlays/make-overlay --who patches.ext3

In a container started with --overlay patches.ext3:ro the patches are /data/patches.h5 and the
scenes lie in /data/inference. Beside the image come its manifest (.json) and checksum (.sha256).
An overlay of other inputs is replaced, any other file is not; nothing is done if the image was made
from the same inputs. Needs e2fsprogs, no root, no mount.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("overlay", EPILOG, prog=None)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("patches", nargs="?", type=Path, metavar="FILE.h5", help="patch store")
    what.add_argument("--check", type=Path, metavar="FILE.ext3", help="verify an overlay")
    what.add_argument("--who", type=Path, metavar="FILE.ext3", help="show who has an overlay open")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.ext3",
        help="overlay image (default: beside the patch store)",
    )
    parser.add_argument(
        "--scenes", metavar="PATH", help="scenes: a folder or file, put in as well, for inference"
    )
    parser.add_argument(
        "--container", type=Path, metavar="FILE.sif", help="with --check: read a batch through it"
    )
    add_dry_run(parser)
    add_workers(parser, "threads", len(os.sched_getaffinity(0)), "as many as cores")
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: _dispatch(parser().parse_args()))


def _dispatch(arguments: argparse.Namespace) -> None:
    if arguments.who:
        _who(arguments.who)
    elif arguments.check:
        _check(arguments.check, arguments.container)
    else:
        _build(arguments)


def _who(image: Path) -> None:
    from cloudmask.overlay import processes

    for line in processes.describe(image):
        print(f"{image}: {line}")


def _check(image: Path, container: Path | None) -> None:
    from cloudmask.overlay.check import check

    for line in check(image, container):
        print(f"{image}: {line}", flush=True)


def _build(arguments: argparse.Namespace) -> None:
    import time

    from cloudmask.overlay import build

    image = arguments.out or arguments.patches.with_suffix(".ext3")
    plan = build.plan(_sources(arguments.patches, arguments.scenes), image)
    if build.up_to_date(plan):
        print(f"{image}: nothing to do, it was made from these inputs")
        return
    count = len(plan.sources)
    print(f"{image}: needs {plan.size / 1e9:.2f} GB for {count} file(s)", flush=True)
    if arguments.dry_run:
        print(f"would run: {shlex.join(plan.make_filesystem('FOLDERS', image))}")
        for path, source in plan.sources.items():
            print(f"would write: {source} as {path}")
        return
    started = time.perf_counter()
    made = build.build(plan, arguments.workers)
    seconds = time.perf_counter() - started
    rate = made.image.size / 1e6 / seconds
    print(f"{image}: done in {seconds:.1f} s ({rate:.0f} MB/s), checked, read-only")


def _sources(patches: Path, scenes: str | None) -> dict[str, Path]:
    """Host file by path in the container; raises InputError if a file is of another kind."""
    from cloudmask.errors import InputError
    from cloudmask.overlay import manifest
    from cloudmask.system import reading

    try:
        with reading.opened(patches) as handle:
            signature = handle.read(len(reading.HDF5_SIGNATURE))
    except OSError as error:
        raise InputError(f"{patches}: {error.strerror}; expected a patch store") from None
    if signature != reading.HDF5_SIGNATURE:
        raise InputError(f"{patches}: not HDF5; expected a patch store of cloudmask-prepare")
    sources = {manifest.PATCHES: patches}
    if scenes:
        from cloudmask.scenes.finding import find_scenes

        for scene in find_scenes([scenes], part="inference"):
            if scene.is_dir():
                raise InputError(f"{scene}: a product folder; expected HDF5 scenes (*.hdf)")
            sources[f"{manifest.SCENES}/{scene.name}"] = scene
    return sources
