"""Peak memory of training on many scenes against few."""

import subprocess
from pathlib import Path

from measure import Figure, arguments, command, median, peak, write

FEW, MANY = 10, 100
GROWTH = 100e6


def main() -> None:
    """Measure and write."""
    options = arguments(__doc__)
    data = options.data
    peaks: dict[int, list[int]] = {FEW: [], MANY: []}
    for _ in range(min(options.rounds, 3)):
        for count, values in peaks.items():
            run = data / "runs" / f"memory-{count}"
            command_line = "--data", store(data, count), "--run", run, "--force"
            settings = "--set", "model.filters=2", "--set", "training.epochs=1"
            # Pages of the patch store that happen to be mapped are not the process's own.
            values.append(peak([command("train"), *command_line, *settings], "RssAnon"))
    few, many = (median(values) / 1e6 for values in peaks.values())
    figure = Figure(
        f"memory of training, {MANY} scenes less {FEW}",
        many,
        few,
        "MB",
        (many - few) * 1e6 / GROWTH,
        1.0,
        "batches in flight; patches stay in the page cache, which the kernel takes back at need",
        at_most=True,
        details={"bytes": peaks},
    )
    write(options.out, [figure])


def store(data: Path, count: int) -> Path:
    """Patch store of so many scenes, made of the same few by links."""
    out = data / f"scenes-{count}.h5"
    if not out.exists():
        links = data / f"scenes-{count}"
        links.mkdir(exist_ok=True)
        scenes = sorted((data / "scenes").iterdir())
        for index in range(count):
            link = links / f"S3A_{index:04d}.hdf"
            if not link.is_symlink():
                link.symlink_to(scenes[index % len(scenes)].resolve())
        subprocess.run([command("prepare"), "--scenes", links, "--out", out], check=True)
    return out


if __name__ == "__main__":
    main()
