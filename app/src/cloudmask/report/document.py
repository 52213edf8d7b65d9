"""The whole report: everything that a reader sees, before it is written anywhere."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cloudmask import __version__
from cloudmask.record.rules import TARGET
from cloudmask.report import (
    accuracy_figures,
    power_figures,
    tables,
    timing_figures,
    training_figures,
)
from cloudmask.report.alarms import Alarm, alarms
from cloudmask.report.certificate import Certificate, certify
from cloudmask.report.collection import Collection
from cloudmask.report.drawing import Drawing
from cloudmask.report.groups import Group
from cloudmask.report.paper_comparison import data_of, has_paper
from cloudmask.report.paper_figures import PAPER_FIGURES
from cloudmask.report.paper_tables import PAPER_TABLES
from cloudmask.report.pictures import Picture, pictures
from cloudmask.report.published_paper import paper
from cloudmask.report.statistics import SampleSummary
from cloudmask.report.table import Table
from cloudmask.scenes import dataset
from cloudmask.system.text import one_line, plural

TITLE = "Report of the runs"
NO_ALARM = "Nothing that a reader should be warned of was found."

FIGURES: dict[str, Callable[[Collection], Drawing]] = {
    "accuracy_by_group": accuracy_figures.by_group,
    "best_loss": partial(training_figures.best, kind="loss"),
    "best_accuracy": partial(training_figures.best, kind="accuracy"),
    "repeats_loss": partial(training_figures.repeats, curve="loss"),
    "repeats_val_loss": partial(training_figures.repeats, curve="val_loss"),
    "repeats_accuracy": partial(training_figures.repeats, curve="accuracy"),
    "repeats_val_accuracy": partial(training_figures.repeats, curve="val_accuracy"),
    "run_time": timing_figures.run_time,
    "epoch_time": timing_figures.epoch_time,
    "fixed_cost": timing_figures.fixed_cost,
    "time_to_accuracy": training_figures.time_to_accuracy,
    "scaling": timing_figures.scaling,
    "accuracy_per_scene": accuracy_figures.by_scene,
    "calibration": accuracy_figures.calibration,
    "energy": accuracy_figures.energy,
    "gpu_power": power_figures.gpu_power,
}


@dataclass(frozen=True)
class ReportDocument:
    """Everything a reader sees, in the order of reading."""

    title: str
    made: str
    summary: list[str]
    alarms: list[Alarm]
    tables: list[Table]
    drawings: list[Drawing]
    pictures: list[Picture]
    damaged: list[tuple[str, str]]
    citations: list[str]
    certificate: Certificate | None = None

    @property
    def missing(self) -> list[str]:
        """Tables and figures for which there are no data, and why."""
        found = {table.title: table.note for table in self.tables if not table.visible}
        # A table and a figure of one title lack the same.
        found |= {draw.title: f"{draw.missing}." for draw in self.drawings if draw.missing}
        if not self.pictures:
            found["Best and worst scenes"] = "no evaluation has pictures."
        return [f"{title}: {reason}" for title, reason in found.items()]


def build(found: Collection, certified: bool = False) -> ReportDocument:
    """All tables, figures and alarms of a collection; `certified`: the paper's claims as well."""
    citations = {f"{run.source}: {run.path}" for run in found.runs if run.origin == "paper"}
    sources = one_line(", ".join(found.paths))
    now = datetime.datetime.now(datetime.timezone.utc)
    made = f"{now:%Y-%m-%d %H:%M} UTC, cloudmask {__version__}, from {sources}"
    builders: list[Callable[[Collection], Table]] = [*tables.BUILDERS]
    figures = [*FIGURES.values()]
    if has_paper(found):
        builders += PAPER_TABLES
        figures += PAPER_FIGURES.values()
        citations |= set(paper().citations)
    certificate = certify(found, made) if certified else None
    return ReportDocument(
        title=TITLE,
        made=made,
        summary=summary(found),
        alarms=alarms(found),
        tables=[builder(found) for builder in builders]
        + ([certificate.table()] if certificate else []),
        drawings=[draw(found) for draw in figures],
        pictures=pictures(found),
        damaged=found.damaged,
        citations=sorted(citations),
        certificate=certificate,
    )


def summary(found: Collection) -> list[str]:
    """The main findings, in sentences."""
    count = {
        origin: sum(r.origin == origin for r in found.runs) for origin in ("run", "log", "paper")
    }
    lines = [
        f"{plural(count['run'], 'own run')}, {plural(count['log'], 'run')} from others' logs, "
        f"{plural(count['paper'], 'published run')} from tables; {len(found.unfinished)} "
        f"unfinished, {len(found.damaged)} damaged."
    ]
    scored = [(g, s) for g in found.groups if (s := g.summary(lambda run: run.test_accuracy))]
    own = [pair for pair in scored if pair[0].runs[0].origin != "paper"]
    # Of each data set by itself: the higher of two accuracies over different data is not better.
    for data in dict.fromkeys(group.tested_on for group, _ in own):
        group, best = max(
            (pair for pair in own if pair[0].tested_on == data), key=lambda pair: pair[1].mean
        )
        line = f"Highest mean test accuracy ({data}): {_spread(best)}, {group.label}"
        lines.append(f"{line}{_beside_target(group)}.")
    for group, best in [pair for pair in scored if pair[0].factors["source"] == "NYU Greene"]:
        others = [
            data for data in dict.fromkeys(g.tested_on for g, _ in own) if data != group.tested_on
        ]
        apart = f"; not comparable with: {', '.join(others)}" if others else ""
        lines.append(
            f"The paper's runs ({group.tested_on}): {_spread(best)}, best {best.high:.4f}{apart}."
        )
    return lines


def _beside_target(group: Group) -> str:
    """The accuracy in the way that the target counts it, beside the target, for its data."""
    if not all(data_of(run).public for run in group.runs):
        return ""
    everywhere = group.summary(lambda run: run.published_accuracy)
    if everywhere is None:
        return "; over all pixels, as the target counts, it was not recorded"
    verdict = "reaches" if everywhere.mean >= TARGET else "does not reach"
    return (
        f"; over all pixels it is {everywhere.mean:.4f} and {verdict} {TARGET:g}, the target for "
        f"{dataset.NAME}"
    )


def _spread(summary: SampleSummary) -> str:
    """Mean, standard deviation and number in words."""
    spread = f", standard deviation {summary.sd:.4f}" if summary.sd is not None else ""
    return f"{summary.mean:.4f} (n = {summary.n}{spread})"
