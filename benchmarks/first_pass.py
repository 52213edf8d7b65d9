"""Scenes to patch store, from a cold page cache, against reading and writing the same bytes."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measure import Figure, arguments, forget, interleaved, median, write

from cloudmask.patches.prepare import PrepareOptions, prepare
from cloudmask.scenes.finding import find_scenes

BLOCK = 4 << 20


def main() -> None:
    """Measure and write."""
    options = arguments(__doc__)
    scenes = find_scenes([options.data / "scenes"])
    out = options.data / "first_pass.h5"
    cores = len(os.sched_getaffinity(0))
    ways = {
        "prepare": lambda: prepare(scenes, out, PrepareOptions(), workers=cores),
        "copy": lambda: copy(scenes, out, cores),
    }

    def clear() -> None:
        out.unlink(missing_ok=True)
        forget(*scenes)

    clear()
    prepare(scenes, out, PrepareOptions(), workers=cores)
    written = out.stat().st_size
    read = sum(path.stat().st_size for path in scenes)
    seconds = interleaved(ways, options.rounds, clear)
    out.unlink()
    ours, baseline = (median(seconds[name]) for name in ways)
    figure = Figure(
        "first pass: scenes to patch store",
        20 * len(scenes) / ours,
        20 * len(scenes) / baseline,
        "patches/s",
        baseline / ours,
        0.8,
        "disk and processor: SHA-256, float16 and sums cost as much as the disk with few cores",
        details={
            "scenes": len(scenes),
            "cores": cores,
            "read_bytes": read,
            "written_bytes": written,
            "baseline_bytes_per_second": (read + written) / baseline,
            "seconds": seconds,
        },
    )
    write(options.out, [figure])


def copy(scenes: list[Path], out: Path, threads: int) -> None:
    """Read all bytes of the scenes and write as many as the store has, by as many threads."""
    size = 20 * (256 * 256 * (9 * 2 + 1))

    def one(index: int) -> None:
        buffer = bytearray(BLOCK)
        source = os.open(scenes[index], os.O_RDONLY)
        while os.readv(source, [buffer]):
            pass
        os.close(source)
        for first in range(0, size, BLOCK):
            part = memoryview(buffer)[: min(BLOCK, size - first)]
            os.pwrite(target, part, index * size + first)

    target = os.open(out, os.O_WRONLY | os.O_CREAT)
    os.posix_fallocate(target, 0, len(scenes) * size)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(len(scenes))))
    os.fsync(target)
    os.close(target)


if __name__ == "__main__":
    main()
