"""What is learnt: fast.yaml in a fifth of the paper recipe's epochs, and bfloat16 against float32.

The paper's recipe runs as it is, up to 200 epochs with early stopping: on 2 cores 7 minutes for
each of three seeds. Trainings that are there already (trained/ below --data) are used, so that it
can be run in parts: --only recipes, --only precisions.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
from measure import Figure, command, parser, train, write

from cloudmask.hardware.devices import choose_precision
from cloudmask.record.run_directory import RunDirectory

CONFIGS = Path(__file__).resolve().parents[1] / "app/configs"
SCENES, SIZE = 40, "768x768"  # 360 patches, of which 288 train
FILTERS = 8
FASTER = 5  # fast.yaml gets this part of the epochs that the paper's recipe ran
SHORT = 8  # epochs of fast.yaml to compare precisions: its falling rate leaves little noise
SEEDS = {"recipes": (1, 2, 3), "precisions": (1, 2, 3, 4, 5)}


def main() -> None:
    """Train and write."""
    command_line = parser(__doc__)
    command_line.add_argument("--only", choices=SEEDS, help="one of both comparisons")
    options = command_line.parse_args()
    parts = [options.only] if options.only else [*SEEDS]
    make_scenes(options.data)
    figures = []
    if "recipes" in parts:
        figures.append(recipes(options.data))
    half = choose_precision("auto")
    if "precisions" in parts and half != "float32":
        figures.append(precisions(options.data, half))
    write(options.out, figures)


def make_scenes(data: Path) -> None:
    """Patch store of many small scenes, so that there is something to learn."""
    store = data / "learning.h5"
    if store.exists():
        return
    scenes = data / "learning"
    command_line = "--train", str(SCENES), "--test", "1", "--size", SIZE, "--seed", "11"
    subprocess.run([command("synth"), "--out", scenes, *command_line], check=True)
    subprocess.run([command("prepare"), "--scenes", scenes, "--out", store], check=True)
    shutil.rmtree(scenes)


def validation_accuracies(
    store: Path, name: str, config: str, seed: int, *settings: str
) -> list[float]:
    """Validation accuracy after each epoch of a training."""
    run = RunDirectory(store.parent / "trained" / f"{name}-{seed}")
    if not run.finished:
        train(store, run.path, f"seed={seed}", *settings, config=CONFIGS / config)
    found = [epoch.val_accuracy for epoch in run.read_history()]
    print(f"{name}, seed {seed}: {max(found):.4f}, {len(found)} epochs", flush=True)
    return found


def recipes(data: Path) -> Figure:
    """The paper's recipe with its early stopping, and fast.yaml with a fifth of its epochs."""
    store, size = data / "learning.h5", f"model.filters={FILTERS}"
    best: dict[str, list[float]] = {"paper": [], "fast": []}
    epochs: dict[str, list] = {"paper": [], "fast": [], "fast is as good": []}
    for seed in SEEDS["recipes"]:
        paper = validation_accuracies(store, "paper", "paper.yaml", seed, size)
        few = f"training.epochs={len(paper) // FASTER}"
        fast = validation_accuracies(store, "fast", "fast.yaml", seed, size, few)
        for name, found in (("paper", paper), ("fast", fast)):
            best[name].append(max(found))
            epochs[name].append(len(found))
        as_good = (epoch for epoch, value in enumerate(fast, 1) if value >= max(paper))
        epochs["fast is as good"].append(next(as_good, None))
    means = {name: float(np.mean(values)) for name, values in best.items()}
    return Figure(
        f"best accuracy of fast.yaml in 1/{FASTER} of the epochs of paper.yaml",
        means["fast"],
        means["paper"],
        "accuracy",
        means["fast"] / means["paper"],
        1.0,
        f"what the mask hides; {len(best['fast'])} seeds, {FILTERS} filters",
        details={"accuracy": best, "epochs": epochs},
    )


def precisions(data: Path, half: str) -> Figure:
    """Accuracy in both precisions, in standard errors of their difference."""
    found: dict[str, list[float]] = {"float32": [], half: []}
    size = f"model.filters={FILTERS}"
    settings = size, f"training.epochs={SHORT}"
    for seed in SEEDS["precisions"]:
        for precision, values in found.items():
            chosen = f"training.precision={precision}"
            store = data / "learning.h5"
            values.append(
                max(validation_accuracies(store, precision, "fast.yaml", seed, chosen, *settings))
            )
    full, fast = (np.array(values) for values in found.values())
    error = float(np.sqrt((full.var(ddof=1) + fast.var(ddof=1)) / len(full)))
    difference = float(fast.mean() - full.mean())
    return Figure(
        f"validation accuracy, {half} less float32, in standard errors",
        float(fast.mean()),
        float(full.mean()),
        "accuracy",
        abs(difference) / error,
        2.0,
        f"{len(full)} seeds; standard error {error:.4f}",
        at_most=True,
        details={"accuracy": found},
    )


if __name__ == "__main__":
    main()
