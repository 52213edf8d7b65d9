"""The scientific contribution of a submission: a PDF of tables and curves made of its results."""

import io
import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmask.publication.eligibility import SubmittedRun
from cloudmask.record.rules import TARGET
from cloudmask.report.drawing import plain_text
from cloudmask.system.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE = (8.27, 11.69)  # A4, inches
WIDTH = 88  # characters of a line of text on it
MISSING = "-"  # where a figure is not known

METHOD = (
    "Every pixel of a Sentinel-3 SLSTR scene is labeled as cloud or clear sky by a U-Net that is "
    "trained on patches of 256 x 256 pixels with nine channels. The labels are the Bayesian mask "
    "that ships with each scene, itself an imperfect classifier: agreement with it is measured, "
    "not the state of the sky. Accuracy is the fraction of pixels labeled as the mask labels "
    "them, averaged over the inference scenes, which are never trained on."
)


def write(path: Path, runs: Sequence[SubmittedRun], system: str, selection: str) -> None:
    """Write the PDF of these runs; `selection` declares how they were chosen."""
    import matplotlib

    matplotlib.use("Agg")
    plain_text()
    from matplotlib.backends.backend_pdf import PdfPages

    # Made in memory: on a full disk Matplotlib ends with an error of its own, while closing.
    content = io.BytesIO()
    with PdfPages(content) as pages:
        for page in (_summary(runs, system, selection), _curves(runs), _scenes(runs)):
            pages.savefig(page)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def number(value: float | None, digits: int) -> str:
    """The value with that many decimals."""
    return MISSING if value is None else f"{value:.{digits}f}"


def _figure(title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=PAGE)
    figure.text(0.1, 0.94, title, fontsize=16, weight="bold")
    return figure


def _summary(runs: Sequence[SubmittedRun], system: str, selection: str) -> "Figure":
    figure = _figure("Cloud masking of Sentinel-3 SLSTR scenes")
    first = runs[0]
    who, machine = first.config.submission, first.system
    paragraphs = [
        f"{who.name}, {who.organization}",
        METHOD,
        f"System: {system}; GPUs: {machine.gpus or 'none'}, nodes: {machine.nodes}, "
        f"TensorFlow {machine.tensorflow}.",
        _setting(first),
        f"Submitted: {selection}.",
        _finding(runs),
    ]
    text = "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in paragraphs)
    figure.text(0.1, 0.91, text, fontsize=10, va="top", linespacing=1.2)
    below = 0.91 - (text.count("\n") + 3) * 12 / 72 / PAGE[1]
    axes = figure.add_axes((0.1, 0.05, 0.8, below - 0.05))
    axes.axis("off")
    heads = ("run", "epochs", "accuracy", "IoU", "F1", "training s", "s/scene", "kJ")
    rows = [_row(count, run) for count, run in enumerate(runs, 1)]
    table = axes.table(cellText=rows, colLabels=heads, loc="upper center")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.scale(1, 1.3)
    return figure


def _setting(run: SubmittedRun) -> str:
    training, stopping = run.config.training, run.config.early_stopping
    ends = "no early stopping"
    if stopping.enabled:
        ends = f"early stopping on {stopping.monitor} with patience {stopping.patience}"
    return (
        f"Setting: {run.config.model.filters} filters on the first level, at most "
        f"{training.epochs} epochs, batch {training.batch_size}, learning rate "
        f"{training.learning_rate:g}, seed {run.config.seed}, {ends}."
    )


def _finding(runs: Sequence[SubmittedRun]) -> str:
    """The accuracy of the runs together, beside the target."""
    accuracies = [run.accuracy for run in runs]
    mean = statistics.mean(accuracies)
    spread = ""
    if len(runs) > 1:
        spread = f", standard deviation {statistics.stdev(accuracies):.4f} between runs"
        if len(set(accuracies)) == 1:
            spread = ", the same to the last digit in all, as equal seeds give it on one system"
    return (
        f"Result: accuracy {mean:.4f} over {runs[0].inference.scenes} inference "
        f"scenes{spread}; the working group's target of {TARGET:g} is "
        f"{'reached' if mean >= TARGET else 'not reached'}."
    )


def _row(count: int, run: SubmittedRun) -> list[str]:
    inference = run.inference
    joules = run.result.energy.joules if run.result.energy else None
    return [
        str(count),
        str(run.training.epochs_run),
        *(number(value, 4) for value in (inference.accuracy, inference.iou, inference.f1)),
        number(run.training.seconds, 1),
        number(inference.seconds_per_scene, 3),
        number(None if joules is None else joules / 1000, 1),
    ]


def _curves(runs: Sequence[SubmittedRun]) -> "Figure":
    figure = _figure("Training")
    for bottom, name, label in ((0.54, "loss", "binary cross-entropy"), (0.1, "accuracy", "")):
        axes = figure.add_axes((0.12, bottom, 0.78, 0.34))
        for count, run in enumerate(runs, 1):
            history = run.directory.read_history()
            epochs = [epoch.epoch for epoch in history]
            training = [getattr(epoch, name) for epoch in history]
            validation = [getattr(epoch, f"val_{name}") for epoch in history]
            (line,) = axes.plot(epochs, training, lw=1, ls=":")
            color = line.get_color()
            axes.plot(epochs, validation, lw=1.2, color=color, marker=".", label=f"run {count}")
        axes.set(xlabel="epoch", ylabel=label or name)
        axes.set_title("solid: validation, dotted: training")
        _whole_numbers(axes)
        axes.legend()
    return figure


def _scenes(runs: Sequence[SubmittedRun]) -> "Figure":
    figure = _figure("Inference over whole scenes")
    axes = figure.add_axes((0.12, 0.5, 0.78, 0.36))
    for count, run in enumerate(runs, 1):
        found = run.inference.accuracy_per_scene.values()
        scores = sorted(score for score in found if score is not None)
        axes.plot(range(1, len(scores) + 1), scores, marker=".", label=f"run {count}")
    axes.axhline(TARGET, color="black", lw=0.8, ls="--", label=f"target {TARGET:g}")
    axes.set(xlabel="scenes, from worst to best", ylabel="accuracy", ylim=(None, 1))
    _whole_numbers(axes)
    axes.legend()
    return figure


def _whole_numbers(axes: "Axes") -> None:
    """Ticks of the horizontal axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))
