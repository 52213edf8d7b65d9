"""The scientific contribution of a submission: a PDF of tables and curves made of its results.

Its pages: who submits what, method and findings; the measurements beside the published ones; the
curves of training; the accuracy of every scene; all settings; references.
"""

import io
import re
import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmask.publication import reference, training_data
from cloudmask.publication.eligibility import SubmittedRun
from cloudmask.publication.reference import number
from cloudmask.publication.submission_text import Submission, seeds
from cloudmask.record.result import BENCHMARK_LABELS
from cloudmask.record.rules import TARGET
from cloudmask.report.drawing import plain_text
from cloudmask.system.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE = (8.27, 11.69)  # A4, inches
WIDTH = 88  # characters of a line of text on it
SETTINGS_LINES = 58  # of a column of settings
SETTINGS_WIDTH = 46  # characters of a line there
TITLE = "Cloud masking of Sentinel-3 SLSTR scenes"
KEYWORDS = "MLCommons Science, cloud masking, Sentinel-3, SLSTR, U-Net, benchmark"

METHOD = (
    "Every pixel of a Sentinel-3 SLSTR scene is labeled as cloud or clear sky by a U-Net that is "
    "trained on patches of 256 x 256 pixels with nine channels. {labels} Accuracy is the fraction "
    "of pixels labeled as the labels are, averaged over the inference scenes."
)
LABELS = {
    BENCHMARK_LABELS: "The labels are the Bayesian mask that ships with each scene, itself an "
    "imperfect classifier: agreement with it is measured, not the state of the sky.",
    "summary": "The labels are the summary cloud flag that ships with each scene, itself made by "
    "threshold tests: agreement with it is measured, not the state of the sky.",
}
UNKNOWN_LABELS = "The runs did not record where the labels come from."

REFERENCES = (
    "V. Chennamsetti, G. von Laszewski et al., MLCommons Cloud Masking Benchmark with Early "
    "Stopping, 2023, arXiv:2401.08636: the published results that are compared with here.",
    "J. Thiyagalingam et al., AI Benchmarking for Science: Efforts from the MLCommons Science "
    "Working Group, 2022: the benchmark and its purpose.",
    "MLCommons Science Working Group, Science Benchmark Policy, version 0.5, "
    "https://github.com/mlcommons/science/blob/main/policy.adoc: the rules.",
    "O. Ronneberger, P. Fischer, T. Brox, U-Net: Convolutional Networks for Biomedical Image "
    "Segmentation, MICCAI 2015, arXiv:1505.04597: the network.",
    "D. P. Kingma, J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, arXiv:1412.6980: "
    "the optimizer.",
    "C. J. Merchant et al., Probabilistic physically based cloud screening of satellite infrared "
    "imagery for operational sea surface temperature retrieval, Q. J. R. Meteorol. Soc. 131, 2005, "
    "doi:10.1256/qj.05.15: the method of the Bayesian cloud masks that ship with SLSTR scenes.",
    "C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv:1706.04599: the "
    "temperature of the probabilities.",
)


def write(path: Path, submission: Submission) -> None:
    """Write the PDF of a submission."""
    import matplotlib

    matplotlib.use("Agg")
    plain_text()
    from matplotlib.backends.backend_pdf import PdfPages

    runs = submission.runs
    figures = [_summary(submission), _measurements(submission), _curves(runs), _scenes(submission)]
    figures += [*_settings(submission), _references()]
    # Made in memory: on a full disk Matplotlib ends with an error of its own, while closing.
    content = io.BytesIO()
    with PdfPages(content, metadata=_metadata(submission)) as pages:
        for page in figures:
            pages.savefig(page)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _metadata(submission: Submission) -> dict[str, str]:
    who = submission.runs[0].config.submission
    return {
        "Title": f"{TITLE}: {who.name}",
        "Author": f"{who.user}, {who.organization}",
        "Subject": f"MLCommons Science submission, cloudmask on {submission.system}",
        "Keywords": KEYWORDS,
    }


def _figure(title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=PAGE)
    figure.text(0.1, 0.94, title, fontsize=16, weight="bold")
    return figure


def _summary(submission: Submission) -> "Figure":
    figure = _figure(TITLE)
    text = "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in paragraphs(submission))
    figure.text(0.1, 0.91, text, fontsize=10, va="top", linespacing=1.2)
    return figure


def paragraphs(submission: Submission) -> list[str]:
    """The text of the first page: who, what, how and what was found."""
    runs, first = submission.runs, submission.runs[0]
    machine, where = first.system, submission.program
    identification = "; ".join(f"{k}: {v}" for k, v in submission.identification.items())
    source = ", ".join(f"{key} {value}" for key, value in where.items() if value)
    texts = [
        identification,
        METHOD.format(labels=LABELS.get(first.inference.truth or "", UNKNOWN_LABELS)),
        f"System: {submission.system}; GPUs: {machine.gpus or 'none'}, nodes: {machine.nodes}, "
        f"TensorFlow {machine.tensorflow}. Program: {source}.",
        f"{training_data.statement(runs)} {training_data.seen(runs)}",
        _setting(submission),
        f"Submitted: {submission.selection}.",
        _finding(submission),
        reference.comparison(runs, submission.other_data),
    ]
    if submission.other_data:
        texts.insert(1, reference.declared_data(runs[0], submission.other_data))
    return texts


def _measurements(submission: Submission) -> "Figure":
    figure = _figure("Measurements")
    rows = reference.table(submission.runs, submission.other_data)
    wrapped = [[textwrap.fill(cell, 34) for cell in row] for row in rows]
    _draw_table(figure, (0.1, 0.55, 0.8, 0.36), reference.HEADS, wrapped)
    heads = (
        "run",
        "seed",
        "epochs",
        "accuracy (measured)",
        "accuracy (all pixels)",
        "IoU",
        "F1",
        "training s",
        "s/scene",
        "kJ",
    )
    cells = [_row(count, run) for count, run in enumerate(submission.runs, 1)]
    _draw_table(figure, (0.1, 0.05, 0.8, 0.45), heads, cells)
    return figure


def _draw_table(
    figure: "Figure",
    box: tuple[float, float, float, float],
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    """Draw a table into a part of the page: left, bottom, width, height."""
    axes = figure.add_axes(box)
    axes.axis("off")
    table = axes.table(cellText=list(rows), colLabels=list(heads), loc="upper center")
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    table.scale(1, 2 if any("\n" in cell for row in rows for cell in row) else 1.3)
    table.auto_set_column_width(range(len(heads)))
    for (_, column), cell in table.get_celld().items():
        text = any(_is_text(row[column]) for row in rows)
        cell.set_text_props(horizontalalignment="left" if text else "right")


def _is_text(cell: str) -> bool:
    """Whether a cell holds words, and no number or the lack of one."""
    return re.fullmatch(r"[+-]?[\d.]*", cell) is None


def _setting(submission: Submission) -> str:
    run = submission.runs[0]
    training, stopping, weight = (
        run.config.training,
        run.config.early_stopping,
        run.config.loss.positive_weight,
    )
    ends = "no early stopping"
    if stopping.enabled:
        ends = f"early stopping on {stopping.monitor} with patience {stopping.patience}"
    return (
        f"Setting: {run.config.model.filters} filters on the first level, at most "
        f"{training.epochs} epochs, batch {training.batch_size}, Adam with learning rate "
        f"{training.learning_rate:g} ({training.schedule}), binary cross-entropy with weight "
        f"{weight:g} of cloud, {'with' if training.augment else 'without'} augmentation, "
        f"{seeds(submission)}, {ends}. All settings follow below."
    )


def _settings(submission: Submission) -> list["Figure"]:
    """The complete configuration, in two columns on as many pages as it takes."""
    lines: list[str] = []
    if len(submission.seeds) > 1:
        note = f"# Of all runs but for the seed: {seeds(submission)}."
        lines += textwrap.wrap(note, SETTINGS_WIDTH, subsequent_indent="# ")
    for line in submission.runs[0].config.to_yaml().splitlines():
        lines += textwrap.wrap(line, SETTINGS_WIDTH, subsequent_indent="    ") or [""]
    columns = [lines[k : k + SETTINGS_LINES] for k in range(0, len(lines), SETTINGS_LINES)]
    figures = []
    for count, column in enumerate(columns):
        if count % 2 == 0:
            figures.append(_figure("Settings"))
        left = 0.1 if count % 2 == 0 else 0.52
        text = "\n".join(column)
        figures[-1].text(left, 0.91, text, fontsize=8, va="top", family="monospace")
    return figures


def _references() -> "Figure":
    figure = _figure("References")
    listed = [
        textwrap.fill(f"[{count}] {text}", WIDTH, subsequent_indent="    ")
        for count, text in enumerate(REFERENCES, 1)
    ]
    figure.text(0.1, 0.91, "\n\n".join(listed), fontsize=10, va="top", linespacing=1.2)
    return figure


def _finding(submission: Submission) -> str:
    """The accuracy of the runs together; over the benchmark's scenes beside the target."""
    runs = submission.runs
    accuracies = [run.accuracy for run in runs]
    mean = statistics.mean(accuracies)
    spread = ""
    if len(runs) > 1:
        spread = f", standard deviation {statistics.stdev(accuracies):.4f} between runs"
        if len(set(accuracies)) == len(submission.seeds) == 1:
            spread = ", the same to the last digit in all, as equal seeds give it on one system"
    found = (
        f"Result: accuracy {mean:.4f} over the measured pixels of {runs[0].inference.scenes} "
        f"inference scenes{spread}"
    )
    everywhere = reference.all_pixels(runs)
    if submission.other_data or everywhere is None:
        return f"{found}."
    return (
        f"{found}. Over all pixels, as the target of {TARGET:g} counts, it is {everywhere:.4f}: "
        f"the target is {'reached' if everywhere >= TARGET else 'not reached'}."
    )


def _row(count: int, run: SubmittedRun) -> list[str]:
    inference = run.inference
    joules = run.result.energy.joules if run.result.energy else None
    return [
        str(count),
        str(run.seed),
        str(run.training.epochs_run),
        *(number(value, 4) for value in (inference.accuracy, inference.accuracy_all_pixels)),
        *(number(value, 4) for value in (inference.iou, inference.f1)),
        number(run.training.seconds, 1),
        number(inference.seconds_per_scene_all, 3),
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


def _scenes(submission: Submission) -> "Figure":
    figure = _figure("Inference over whole scenes")
    axes = figure.add_axes((0.12, 0.5, 0.78, 0.36))
    for count, run in enumerate(submission.runs, 1):
        found = run.inference.accuracy_per_scene.values()
        scores = sorted(score for score in found if score is not None)
        axes.plot(range(1, len(scores) + 1), scores, marker=".", label=f"run {count}")
    if not submission.other_data:
        label = f"target {TARGET:g}, of the mean over all pixels"
        axes.axhline(TARGET, color="black", lw=0.8, ls="--", label=label)
    axes.set(
        xlabel="scenes, from worst to best", ylabel="accuracy, measured pixels", ylim=(None, 1)
    )
    _whole_numbers(axes)
    axes.legend()
    return figure


def _whole_numbers(axes: "Axes") -> None:
    """Ticks of the horizontal axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))
