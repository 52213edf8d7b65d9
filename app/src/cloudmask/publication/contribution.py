"""The scientific contribution of a submission: a PDF of tables and curves out of its results."""

import csv
import textwrap
from collections.abc import Sequence
from pathlib import Path

from cloudmask.files import replacing

PAGE = (8.27, 11.69)  # A4, inches
WIDTH = 88  # characters of a line of text on it

METHOD = (
    "Every pixel of a Sentinel-3 SLSTR scene is labelled as cloud or clear sky by a U-Net that is "
    "trained on patches of 256 x 256 pixels with nine channels. The truth is the Bayesian mask "
    "that ships with each scene, itself an imperfect classifier: agreement with it is measured, "
    "not the state of the sky. Accuracy is the share of pixels labelled as the mask labels them, "
    "averaged over the inference scenes, which are never trained on."
)


def write(path: Path, runs: Sequence[dict], system: str, selection: str) -> None:
    """Write the PDF; each run has `folder`, `result` and `config`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.backends.backend_pdf import PdfPages

    with replacing(path) as temporary, PdfPages(temporary) as pages:
        for page in (_summary(runs, system, selection), _curves(runs), _scenes(runs)):
            pages.savefig(page)


def _figure(title: str):
    from matplotlib.figure import Figure

    figure = Figure(figsize=PAGE)
    figure.text(0.1, 0.94, title, fontsize=16, weight="bold")
    return figure


def _summary(runs: Sequence[dict], system: str, selection: str):
    figure = _figure("Cloud masking of Sentinel-3 SLSTR scenes")
    config, result = runs[0]["config"], runs[0]["result"]
    who, training = config["submission"], config["training"]
    stopping = config["early_stopping"]
    paragraphs = [
        f"{who['name']}, {who['organization']}",
        METHOD,
        f"System: {system}, {result['system']['gpus'] or 'no'} GPUs, {result['system']['nodes']} "
        f"nodes, TensorFlow {result['system']['tensorflow']}.",
        f"Setting: {config['model']['filters']} filters on the first level, at most "
        f"{training['epochs']} epochs, batch {training['batch_size']}, learning rate "
        f"{training['learning_rate']:g}, seed {config['seed']}, "
        + (
            f"early stopping on {stopping['monitor']} with patience {stopping['patience']}."
            if stopping["enabled"]
            else "no early stopping."
        ),
        f"Submitted: {selection}.",
    ]
    text = "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in paragraphs)
    figure.text(0.1, 0.91, text, fontsize=10, va="top")
    heads = ("run", "epochs", "accuracy", "IoU", "F1", "training s", "s/scene", "kJ")
    rows = [_row(number, run["result"]) for number, run in enumerate(runs, 1)]
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.42))
    axes.axis("off")
    table = axes.table(cellText=rows, colLabels=heads, loc="upper center")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    return figure


def _row(number: int, result: dict) -> list[str]:
    training, inference = result["training"], result["inference"]
    joules = result.get("energy", {}).get("joules")
    return [
        str(number),
        str(training["epochs_run"]),
        *(_figure_of(inference.get(name)) for name in ("accuracy", "iou", "f1")),
        f"{training['seconds']:.1f}",
        f"{inference['seconds_per_scene']:.3f}",
        "-" if joules is None else f"{joules / 1000:.1f}",
    ]


def _figure_of(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _curves(runs: Sequence[dict]):
    figure = _figure("Training")
    panels = (
        ("loss", "val_loss", "binary cross-entropy"),
        ("accuracy", "val_accuracy", "accuracy"),
    )
    for place, (name, validation, label) in zip((0.54, 0.1), panels, strict=True):
        axes = figure.add_axes((0.12, place, 0.78, 0.34))
        for number, run in enumerate(runs, 1):
            with (run["folder"] / "history.csv").open(newline="", encoding="utf-8") as file:
                history = list(csv.DictReader(file))
            epochs = [int(row["epoch"]) for row in history]
            (line,) = axes.plot(epochs, [float(r[name]) for r in history], lw=1, ls=":")
            axes.plot(
                *(epochs, [float(r[validation]) for r in history]),
                **{"lw": 1.2, "color": line.get_color(), "marker": ".", "label": f"run {number}"},
            )
        axes.set(xlabel="epoch", ylabel=label, title="solid: validation, dotted: training")
        axes.legend()
    return figure


def _scenes(runs: Sequence[dict]):
    figure = _figure("Inference over whole scenes")
    axes = figure.add_axes((0.12, 0.5, 0.78, 0.36))
    for number, run in enumerate(runs, 1):
        scores = sorted(run["result"]["inference"]["accuracy_per_scene"].values())
        axes.plot(range(1, len(scores) + 1), scores, marker=".", label=f"run {number}")
    axes.axhline(0.9, color="black", lw=0.8, ls="--", label="target 0.9")
    axes.set(xlabel="scenes, from worst to best", ylabel="accuracy", ylim=(0, 1))
    axes.legend()
    return figure
