#!/usr/bin/env python3
"""How fast a patch file in an overlay reaches a program: copies, extraction, FUSE. Ratios, one run.

Ways, in turn, several rounds, each from a cold and from a warm page cache:
  read     read the image's bytes once (what the disk gives)
  cp       cp of the whole image (what staging an overlay would do; nothing is verified)
  cp+sum   the same, and then its sha256, as a check asks for
  debugfs  debugfs dump of the file
  extract  cloudmask's staging: copy by blocks, checksum verified
  overlay  read through --overlay IMAGE:ro, first and second time in one container
  bind     read the staged file, bound into the container, first and second time
The last two need a container runtime and --container.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "app" / "src"))

from cloudmask.errors import InputError
from cloudmask.overlay import build, check, e2fsprogs, extract, layout, manifest

# Seconds of two reads by one process in the container; busybox and coreutils both have these.
NOW = "$(cat /proc/uptime)"
READ = "dd if={path} of=/dev/null bs=4M 2>/dev/null"
PROBE = f"for i in 1 2; do s={NOW}; {READ}; e={NOW}; echo $s $e; done"


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="disk to measure")
    parser.add_argument("--megabytes", type=int, default=800, help="size of the file (800)")
    parser.add_argument("--rounds", type=int, default=5, help="median of so many (5)")
    parser.add_argument("--workers", type=int, default=max(4, len(os.sched_getaffinity(0))))
    parser.add_argument("--container", type=Path, metavar="SIF")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    folder = arguments.folder / f"cloudmask-benchmark-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        result = measure(folder, arguments)
    finally:
        shutil.rmtree(folder)
    show(result)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(folder: Path, arguments: argparse.Namespace) -> dict:
    """Seconds of each way, cold and warm, in rounds that visit all ways in turn."""
    source, image, out = folder / "patches.h5", folder / "patches.ext3", folder / "out"
    with source.open("wb") as file:
        for _ in range(arguments.megabytes):
            file.write(os.urandom(10**6))
    began = time.perf_counter()
    build.build(build.plan({manifest.PATCHES: source}, image), arguments.workers)
    seconds: dict[str, list[float]] = {"build": [time.perf_counter() - began]}
    content = manifest.read(image).content(manifest.PATCHES)
    source.unlink()
    inside = layout.UPPER + manifest.PATCHES
    dump = [e2fsprogs.tool("debugfs"), "-R", f"dump {inside} {out}", str(image)]
    ways: dict[str, Callable[[], object]] = {
        "read": lambda: read(image),
        "cp": lambda: synced(["cp", str(image), str(out)], out),
        "cp+sum": lambda: synced(["sh", "-c", 'cp "$0" "$1" && sha256sum "$1"', image, out], out),
        "debugfs": lambda: synced(dump, out),
        "extract": lambda: extract.extract(image, content, out, arguments.workers),
    }
    for _ in range(arguments.rounds):
        for state in ("cold", "warm"):
            for name, way in ways.items():
                out.unlink(missing_ok=True)
                forget(image) if state == "cold" else read(image)
                began = time.perf_counter()
                way()
                seconds.setdefault(f"{name} {state}", []).append(time.perf_counter() - began)
        if arguments.container:
            for way, path, options in (
                ("overlay", image, ["--overlay", f"{image}:ro"]),
                ("bind", out, ["--bind", f"{out}:{manifest.PATCHES}:ro"]),
            ):
                forget(path)
                first, second = in_container(arguments.container, options)
                seconds.setdefault(f"{way} first", []).append(first)
                seconds.setdefault(f"{way} second", []).append(second)
    reference = statistics.median(seconds["read cold"])
    rows = {}
    for name, values in seconds.items():
        middle = statistics.median(values)
        rows[name] = {
            "seconds": values,
            "megabytes_per_second": content.size / 1e6 / middle,
            "ratio_to_cold_read": reference / middle,
        }
    about = {"megabytes": content.size / 1e6, "workers": arguments.workers}
    return {**about, "rounds": arguments.rounds, "disk": str(arguments.folder), "ways": rows}


def read(path: Path) -> None:
    """Read a file once, in large pieces."""
    buffer = bytearray(manifest.PIECE)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def forget(path: Path) -> None:
    """Drop a file's pages from the cache; needs no root once they are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def synced(command: list, out: Path) -> None:
    """Run a copy and bring it to the disk, as staging does."""
    subprocess.run(command, check=True, capture_output=True)
    with out.open("rb") as file:
        os.fsync(file.fileno())


def in_container(container: Path, options: list[str]) -> tuple[float, float]:
    """Seconds of the first and the second read of the patches in a new container."""
    command = [check.runtime(), "-q", "exec", "--cleanenv", "--no-home", *options, str(container)]
    command += ["sh", "-c", PROBE.format(path=manifest.PATCHES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{container}: {done.stderr.strip()}")
    lines = [line.split() for line in done.stdout.splitlines()]
    first, second = (max(0.01, float(line[2]) - float(line[0])) for line in lines)
    return first, second


def show(result: dict) -> None:
    """The table."""
    print(f"{result['megabytes']:.0f} MB, {result['rounds']} rounds, {result['workers']} threads")
    for name, row in result["ways"].items():
        rate, ratio = row["megabytes_per_second"], row["ratio_to_cold_read"]
        print(f"  {name:15s} {rate:7.0f} MB/s   {ratio:5.2f} x cold read of the disk")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
