"""Peak memory of training on many scenes against few."""

import subprocess
import sys
import time
from pathlib import Path

from measure import Figure, arguments, write

FEW, MANY = 10, 100
GROWTH = 100e6


def main() -> None:
    """Measure and write."""
    options = arguments(__doc__)
    peaks = {count: peak(options.data, count) for count in (FEW, MANY)}
    growth = peaks[MANY] - peaks[FEW]
    figure = Figure(
        f"memory of training, {MANY} scenes less {FEW}",
        *(peaks[MANY] / 1e6, peaks[FEW] / 1e6, "MB", growth / GROWTH, 1.0),
        "batches in flight; patches stay in the page cache, which the kernel takes back at need",
        at_most=True,
    )
    write(options.out, [figure])


def peak(data: Path, count: int) -> float:
    """Largest anonymous memory, in bytes, of one epoch on the patches of `count` scenes.

    Pages of the patch store that happen to be mapped are not the process's own.
    """
    run, store = data / "runs" / f"memory-{count}", data / f"scenes-{count}.h5"
    if not store.exists():
        links = data / f"scenes-{count}"
        links.mkdir(exist_ok=True)
        scenes = sorted((data / "scenes").iterdir())
        for index in range(count):
            link = links / f"S3A_{index:04d}.hdf"
            if not link.is_symlink():
                link.symlink_to(scenes[index % len(scenes)])
        _command("cloudmask-prepare", "--scenes", links, "--out", store).wait()
    process = _command(
        *("cloudmask-train", "--data", store, "--run", run, "--force"),
        *("--set", "model.filters=2", "--set", "training.epochs=1"),
    )
    largest = 0
    while process.poll() is None:
        largest = max(largest, _anonymous(process.pid))
        time.sleep(0.02)
    assert process.returncode == 0, f"training ended with {process.returncode}"
    return largest


def _command(name: str, *words) -> subprocess.Popen:
    return subprocess.Popen(
        [Path(sys.executable).with_name(name), *words], stdout=subprocess.DEVNULL
    )


def _anonymous(process: int) -> int:
    """Bytes of anonymous resident memory now; 0 when the process is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


if __name__ == "__main__":
    main()
