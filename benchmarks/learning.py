"""What is learnt: fast.yaml in a fifth of the paper recipe's epochs, and bfloat16 against float32.

Trainings that are there already (trained/ below --data) are used, so that it can be run in
parts: --only recipes, --only precisions.
"""

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
from measure import Figure, command, parser, train, write

from cloudmask.train.devices import choose_precision

CONFIGS = Path(__file__).resolve().parents[1] / "app/configs"
SCENES, SIZE = 40, "768x768"  # 360 patches, of which 288 train
FILTERS = 8
EPOCHS = 40  # of the paper's recipe
FASTER = 5
SHORT = 8  # epochs to compare precisions
SEEDS = {"recipes": (1, 2, 3), "precisions": (1, 2, 3, 4, 5)}


def main() -> None:
    """Train and write."""
    words = parser(__doc__)
    words.add_argument("--only", choices=SEEDS, help="one of both comparisons")
    options = words.parse_args()
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
    words = "--train", str(SCENES), "--test", "1", "--size", SIZE, "--seed", "11"
    subprocess.run([command("synth"), "--out", scenes, *words], check=True)
    subprocess.run([command("prepare"), "--scenes", scenes, "--out", store], check=True)
    shutil.rmtree(scenes)


def best(store: Path, name: str, config: str, seed: int, *settings: str) -> float:
    """Best validation accuracy of any epoch of a training."""
    run = store.parent / "trained" / f"{name}-{seed}"
    if not (run / "result.json").exists():
        train(store, run, f"seed={seed}", *settings, config=CONFIGS / config)
    with (run / "history.csv").open() as file:
        accuracy = max(float(row["val_accuracy"]) for row in csv.DictReader(file))
    print(f"{name}, seed {seed}: {accuracy:.4f}", flush=True)
    return accuracy


def recipes(data: Path) -> Figure:
    """The paper's recipe and fast.yaml with a fifth of its epochs."""
    found: dict[str, list[float]] = {"paper": [], "fast": []}
    size = f"model.filters={FILTERS}"
    for seed in SEEDS["recipes"]:
        for name, epochs in (("paper", EPOCHS), ("fast", EPOCHS // FASTER)):
            settings = size, f"training.epochs={epochs}", "early_stopping.patience=1000"
            found[name].append(best(data / "learning.h5", name, f"{name}.yaml", seed, *settings))
    paper, fast = (float(np.mean(values)) for values in found.values())
    return Figure(
        f"best accuracy of fast.yaml in {EPOCHS // FASTER} epochs, of the paper's in {EPOCHS}",
        *(fast, paper, "accuracy", fast / paper, 1.0),
        f"noise of the labels; {len(found['fast'])} seeds, {FILTERS} filters",
        details={"accuracy": found},
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
            values.append(best(store, precision, "paper.yaml", seed, chosen, *settings))
    full, fast = (np.array(values) for values in found.values())
    error = float(np.sqrt((full.var(ddof=1) + fast.var(ddof=1)) / len(full)))
    difference = float(fast.mean() - full.mean())
    return Figure(
        f"validation accuracy, {half} less float32, in standard errors",
        *(float(fast.mean()), float(full.mean()), "accuracy", abs(difference) / error, 2.0),
        f"{len(full)} seeds; standard error {error:.4f}",
        at_most=True,
        details={"accuracy": found},
    )


if __name__ == "__main__":
    main()
