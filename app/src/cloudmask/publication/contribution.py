"""The scientific contribution of a submission: a PDF of tables and curves out of its results."""

import csv
import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path

from cloudmask.record.rules import TARGET
from cloudmask.system.files import replacing

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
        f"System: {system}; GPUs: {result['system']['gpus'] or 'none'}, nodes: "
        f"{result['system']['nodes']}, TensorFlow {result['system']['tensorflow']}.",
        f"Setting: {config['model']['filters']} filters on the first level, at most "
        f"{training['epochs']} epochs, batch {training['batch_size']}, learning rate "
        f"{training['learning_rate']:g}, seed {config['seed']}, "
        + (
            f"early stopping on {stopping['monitor']} with patience {stopping['patience']}."
            if stopping["enabled"]
            else "no early stopping."
        ),
        f"Submitted: {selection}.",
        _finding(runs),
    ]
    text = "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in paragraphs)
    figure.text(0.1, 0.91, text, fontsize=10, va="top", linespacing=1.2)
    below = 0.91 - (text.count("\n") + 3) * 12 / 72 / PAGE[1]
    heads = ("run", "epochs", "accuracy", "IoU", "F1", "training s", "s/scene", "kJ")
    rows = [_row(number, run["result"]) for number, run in enumerate(runs, 1)]
    axes = figure.add_axes((0.1, 0.05, 0.8, below - 0.05))
    axes.axis("off")
    table = axes.table(cellText=rows, colLabels=heads, loc="upper center")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.scale(1, 1.3)
    return figure


def _finding(runs: Sequence[dict]) -> str:
    """The accuracy of the runs together, beside the target."""
    accuracies = [run["result"]["inference"]["accuracy"] for run in runs]
    mean = statistics.mean(accuracies)
    spread = ""
    if len(runs) > 1:
        spread = f", standard deviation {statistics.stdev(accuracies):.4f} between runs"
        if len(set(accuracies)) == 1:
            spread = ", the same to the last digit in all, as equal seeds give it on one system"
    return (
        f"Result: accuracy {mean:.4f} over {runs[0]['result']['inference']['scenes']} inference "
        f"scenes{spread}; the working group's target of {TARGET:g} is "
        f"{'reached' if mean >= TARGET else 'not reached'}."
    )


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
                epochs,
                [float(r[validation]) for r in history],
                lw=1.2,
                color=line.get_color(),
                marker=".",
                label=f"run {number}",
            )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="epoch", ylabel=label, title="solid: validation, dotted: training")
        axes.legend()
    return figure


def _scenes(runs: Sequence[dict]):
    figure = _figure("Inference over whole scenes")
    axes = figure.add_axes((0.12, 0.5, 0.78, 0.36))
    for number, run in enumerate(runs, 1):
        scores = sorted(run["result"]["inference"]["accuracy_per_scene"].values())
        axes.plot(range(1, len(scores) + 1), scores, marker=".", label=f"run {number}")
    axes.axhline(TARGET, color="black", lw=0.8, ls="--", label=f"target {TARGET:g}")
    axes.set(xlabel="scenes, from worst to best", ylabel="accuracy", ylim=(None, 1))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure
