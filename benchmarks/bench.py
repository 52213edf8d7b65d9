#!/usr/bin/env python3
"""All benchmarks of speed against their baselines: a table, a JSON file and a picture.

  make bench                      all of them (1 hour on 2 cores, most of it for learning)
  make bench ONLY="epochs"        some of: first_pass epochs training batch_sizes (with a GPU)
                                  inference memory learning

Each runs in a process of its own; ours and its baseline take turns. Synthetic scenes of the
published size are made first, once. Leave the machine alone meanwhile.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = ("first_pass", "epochs", "training", "batch_sizes", "inference", "memory", "learning")
SCENES = 48  # of the published size: 3.3 GB
DISTINCT = 8
TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000]  # of the picture
SMALL = 5  # scenes for short trainings: 100 patches


def main() -> None:
    """Prepare the data, run the benchmarks, show them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="work here")
    parser.add_argument("--rounds", type=int, default=5, help="median of so many (5)")
    options = parser.parse_args()
    names = options.names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    data = options.folder / "data"
    make_data(data)
    figures = []
    for name in names:
        print(f"{name} …", flush=True)
        out = options.folder / f"{name}.json"
        command_line = ["--data", data, "--out", out, "--rounds", str(options.rounds)]
        subprocess.run([sys.executable, HERE / f"{name}.py", *command_line], check=True)
        figures += json.loads(out.read_text())
    shutil.rmtree(data / "runs", ignore_errors=True)
    if not figures:
        return
    facts = machine()
    result = options.folder / "bench.json"
    result.write_text(json.dumps({"machine": facts, "figures": figures}, indent=1) + "\n")
    (options.folder / "bench.md").write_text(table(facts, figures))
    print(f"\n{table(facts, figures)}")
    draw(facts, figures, options.folder / "bench.png")
    print(f"{result}, bench.md and bench.png beside it")


def make_data(data: Path) -> None:
    """Scenes and patch stores; what is there already is used."""
    data.mkdir(parents=True, exist_ok=True)
    command = {
        name: Path(sys.executable).with_name(f"cloudmask-{name}") for name in ("synth", "prepare")
    }
    if not (data / "scenes").exists():
        command_line = [
            "--out",
            data / "synth",
            "--train",
            str(DISTINCT),
            "--test",
            "3",
            "--seed",
            "7",
        ]
        subprocess.run([command["synth"], *command_line], check=True)
        distinct = sorted((data / "synth/training").iterdir())
        (data / "scenes.part").mkdir(exist_ok=True)
        for index in range(SCENES):
            # Copies, so that each has its own blocks on the disk.
            shutil.copy(distinct[index % DISTINCT], data / f"scenes.part/S3A_{index:04d}.hdf")
        (data / "small").mkdir(exist_ok=True)
        for scene in distinct[:SMALL]:
            shutil.copy(scene, data / "small")
        (data / "synth/inference").rename(data / "inference")
        shutil.rmtree(data / "synth")
        (data / "scenes.part").rename(data / "scenes")
    for scenes, store in (("scenes", "patches.h5"), ("small", "small.h5")):
        if not (data / store).exists():
            subprocess.run(
                [command["prepare"], "--scenes", data / scenes, "--out", data / store], check=True
            )


def machine() -> dict:
    """What the figures depend on."""
    import keras
    import numpy
    import tensorflow

    cpu = next(
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    commit = subprocess.run(
        ["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip() or "unknown",
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "tensorflow": tensorflow.__version__,
        "keras": keras.__version__,
    }


def table(facts: dict, figures: list[dict]) -> str:
    """All figures as a Markdown table."""
    lines = [
        f"{facts['date']}, commit {facts['commit']}, {facts['cores']} cores of {facts['cpu']}, "
        f"TensorFlow {facts['tensorflow']}, Keras {facts['keras']}, NumPy {facts['numpy']}",
        "",
        "| | ours | baseline | ratio | goal | | bounded by |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in figures:
        sign = "≤" if row["at_most"] else "≥"
        reached = "reached" if row["reached"] else "**missed**"
        lines.append(
            f"| {row['name']} | {row['ours']:.4g} {row['unit']} | {row['baseline']:.4g} | "
            f"{row['ratio']:.4g} | {sign} {row['goal']:g} | {reached} | {row['bound']} |"
        )
    return "\n".join(lines) + "\n"


def draw(facts: dict, figures: list[dict], path: Path) -> None:
    """Each ratio as a multiple of its goal, on a logarithmic scale; right of 1 it is reached."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    rows = figures[::-1]
    values = [
        row["goal"] / max(row["ratio"], 1e-4) if row["at_most"] else row["ratio"] / row["goal"]
        for row in rows
    ]
    drawing = Drawing(figsize=(10, 1.2 + 0.3 * len(rows)), layout="constrained")
    FigureCanvasAgg(drawing)
    axis = drawing.subplots()
    axis.set_xscale("log")
    axis.axvline(1, color="black", linewidth=1)
    for index, (row, value) in enumerate(zip(rows, values, strict=True)):
        color, note = ("#0072b2", "") if row["reached"] else ("#d55e00", ", missed")
        axis.plot([1, value], [index, index], color=color, linewidth=2)
        axis.plot(value, index, "o", color=color, markersize=7)
        sign = "≤" if row["at_most"] else "≥"
        axis.annotate(
            f"{row['ratio']:.4g} (goal {sign} {row['goal']:g}{note})",
            (max(value, 1), index),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    ticks = [tick for tick in TICKS if min(values) / 2 < tick < 2 * max(values)]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlim(min(0.8, min(values) / 1.3), max(values) * 5)
    axis.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axis.set_xlabel("how many times better than the goal (right of the line: reached)", fontsize=9)
    axis.set_title(
        f"{facts['date']}, {facts['cores']} cores of {facts['cpu']}, commit {facts['commit']}",
        fontsize=9,
    )
    axis.tick_params(labelsize=8)
    axis.grid(axis="x", alpha=0.3)
    drawing.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
