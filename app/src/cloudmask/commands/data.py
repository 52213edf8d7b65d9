"""cloudmask-data: fetch the public data set."""

import argparse
from pathlib import Path

from cloudmask.commands import run
from cloudmask.commands.command_parser import command_parser
from cloudmask.commands.options import add_dry_run, add_workers
from cloudmask.scenes.dataset import BUCKET, ENDPOINT, PREFIX
from cloudmask.system.text import plural

EPILOG = """\
examples:
  cloudmask-data --out data --limit 20          20 scenes (about 3.4 GB) for a try
  cloudmask-data --out data                     all of about 1070 scenes, 180 GB
  cloudmask-data --out data --dry-run           what there is, what is missing, is there space
  cloudmask-data --out data --endpoint http://mirror:9000 --bucket slstr --prefix ds1/

All scenes of the server are listed in DIR/scenes.csv (cloudmask-submission --scene-list).
Interrupted, the same command continues where it was, also within a scene. A scene appears under its
name when it is complete and its checksum is right. Exit code 75: the server is away, try later.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("data", EPILOG)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="output folder, which gets training/ and inference/",
    )
    parser.add_argument(
        "--limit",
        type=_positive,
        metavar="N",
        help="only N scenes, a fifth of them for inference (default: all)",
    )
    parser.add_argument("--endpoint", default=ENDPOINT, metavar="URL", help="S3 server")
    parser.add_argument("--bucket", default=BUCKET, metavar="NAME", help="bucket of that server")
    parser.add_argument("--prefix", default=PREFIX, metavar="KEY/", help="folder of that bucket")
    add_workers(parser, "scenes", 8, "", _positive)
    parser.add_argument(
        "--retries",
        type=int,
        default=5,
        metavar="N",
        help="attempts without a byte before giving up, with growing pauses",
    )
    add_dry_run(parser)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}; expected 1 or more")
    return value


def main() -> int:
    """Entry point."""
    return run(lambda: _fetch(parser().parse_args()))


def _fetch(arguments: argparse.Namespace) -> None:
    from cloudmask.errors import Interrupted
    from cloudmask.scenes import download, listing
    from cloudmask.system.disk import free_space

    store = download.Store(
        arguments.endpoint,
        arguments.bucket,
        arguments.prefix,
        arguments.retries,
        arguments.workers,
    )
    try:
        found = store.scenes()
    except download.Unavailable as error:
        raise Interrupted(
            f"{store.endpoint} does not answer ({error}); it has been away for days before: "
            "try again later, nothing that is here is lost"
        ) from None
    size = sum(item.size for item in found)
    print(f"{store.endpoint}: {plural(len(found), 'scene')}, {size / 1e9:.2f} GB", flush=True)
    items = download.select(found, arguments.limit)
    left, size = download.missing(items, arguments.out)
    print(f"{len(items)} wanted, {len(left)} to fetch, {size / 1e9:.2f} GB", flush=True)
    if arguments.dry_run:
        folder = next(f for f in (arguments.out, *arguments.out.absolute().parents) if f.exists())
        print(f"{free_space(folder) / 1e9:.2f} GB are free at {folder}; dry run")
        return
    done = download.fetch(store, items, arguments.out, arguments.workers)
    listing.write(arguments.out, found)
    rate = done.bytes / 1e6 / max(done.seconds, 1e-9)
    print(
        f"{arguments.out}: {plural(done.fetched, 'scene')} fetched ({done.resumed} continued), "
        f"{done.present} were there; {done.bytes / 1e9:.2f} GB in {done.seconds:.1f} s, "
        f"{rate:.0f} MB/s"
    )
    if done.by_size:
        print(f"{len(done.by_size)} verified by size alone: their ETag is no checksum")
