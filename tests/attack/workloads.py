"""Every command with small inputs: how to start it, and how to bring it to its end."""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attack import launch
from attack.contents import contents, differences
from attack.ground import BUCKET, PREFIX, S3, SIZE, Ground, ground
from attack.launch import Running, Stage, Start
from attack.protocol import LOST, Failure


def _nothing(ground: Ground, work: Path) -> None:
    pass


@dataclass(frozen=True)
class Workload:
    """A command; `arguments` and `setup` get the inputs and the folder that it works in."""

    name: str
    command: str
    arguments: Callable[[Ground, Path], list]
    setup: Callable[[Ground, Path], None] = _nothing
    tensorflow: bool = False
    result: str = ""

    def setup_in(self, stage: Stage) -> None:
        """Put there what it starts from."""
        self.setup(ground(), stage.work)

    def start(self, stage: Stage, start: Start | None = None) -> Running:
        """Start it."""
        return Running(self.command, self.arguments(ground(), stage.work), stage, start)

    @property
    def expected(self) -> dict[str, str]:
        """What an undisturbed run leaves."""
        return ground().references[self.name].contents

    @property
    def seconds(self) -> float:
        """How long an undisturbed run takes."""
        return ground().references[self.name].seconds

    def finished(self, stage: Stage) -> bool:
        """Whether it was interrupted only after its result was there.

        Of a run's evaluations there may be many: another start would make another.
        """
        return self.result != "" and (stage.work / self.result).exists()

    def finish(self, stage: Stage, removed: bool = True) -> list[Failure]:
        """Run it to its end, undisturbed; returns what differs from a run that always was.

        A command that refuses to do again what is done is as good. removed: no temporary file may
        be left; not so if removing one failed.
        """
        if self.finished(stage):
            return self._differences(stage, removed) + stage.leftovers()
        ended = launch.run(self.command, self.arguments(ground(), stage.work), stage)
        failures = ended.judged()
        if ended.code not in (0, 2):
            failures.append(Failure(LOST, f"the restart ended with {ended.code}: {ended.errors}"))
        different = self._differences(stage, removed)
        if different and ended.code == 2:
            failures.append(Failure(LOST, f"the restart refused: {ended.errors}"))
        return failures + different + stage.leftovers()

    def _differences(self, stage: Stage, removed: bool) -> list[Failure]:
        found = contents(stage.work)
        if not removed:
            found = {name: digest for name, digest in found.items() if ".tmp" not in name}
        return differences(self.expected, found)


def _copy_run(ground: Ground, work: Path) -> None:
    shutil.copytree(ground.run, work / "run")


def _copy_runs(ground: Ground, work: Path) -> None:
    shutil.copytree(ground.runs, work / "runs")


def _make_node(ground: Ground, work: Path) -> None:
    (work / "node").mkdir()


def _copy_node(ground: Ground, work: Path) -> None:
    shutil.copytree(ground.dead_node, work / "node")


def _synth(ground: Ground, work: Path) -> list:
    counts = ["--train", 2, "--test", 1, "--workers", 2]
    return ["--out", work / "data", *counts, "--size", SIZE]


def _train(ground: Ground, work: Path) -> list:
    settings = ("model.filters=2", "training.batch_size=2", "training.epochs=3",
                "training.deterministic=true", "checkpoint.minutes=0.002")  # fmt: skip
    options = [word for setting in settings for word in ("--set", setting)]
    return ["--data", ground.store, "--scenes", ground.scenes, *options, "--run", work / "run"]


def _grid(ground: Ground, work: Path) -> list:
    data = ["--data", ground.store, "--scenes", ground.scenes]
    return ["run", ground.experiment, "--runs", work / "runs", "--index", 1, *data]


def _data(ground: Ground, work: Path) -> list:
    server = ["--endpoint", os.environ[S3], "--bucket", BUCKET, "--prefix", PREFIX]
    return ["--out", work / "data", *server, "--workers", 2, "--retries", 1]


ALL = (
    Workload("synth", "cloudmask-synth", _synth),
    Workload(
        "prepare",
        "cloudmask-prepare",
        lambda g, work: ["--scenes", g.scenes, "--out", work / "p.h5", "--workers", 2],
    ),
    Workload("verify", "cloudmask-prepare", lambda g, work: ["--verify", g.store]),
    Workload("train", "cloudmask-train", _train, tensorflow=True),
    Workload(
        "evaluate",
        "cloudmask-eval",
        lambda g, work: ["--model", g.run / "model.keras", "--scenes", g.inference,
                         "--out", work / "evaluation"],
        tensorflow=True,
    ),
    Workload(
        "evaluate a run",
        "cloudmask-eval",
        lambda g, work: ["--run", work / "run", "--scenes", g.inference],
        _copy_run,
        tensorflow=True,
        result="run/evaluation/result.json",
    ),
    Workload(
        "predict",
        "cloudmask-predict",
        lambda g, work: ["--model", g.run / "model.keras", g.inference, "--out", work / "masks"],
        tensorflow=True,
    ),
    Workload(
        "extract",
        "cloudmask-stage",
        lambda g, work: ["extract", g.overlay, "--out", work / "p.h5"],
    ),
    Workload(
        "share",
        "cloudmask-stage",
        lambda g, work: ["share", g.overlay, "--local", work / "node"],
        _make_node,
    ),
    Workload(
        "clean", "cloudmask-stage", lambda g, work: ["clean", "--local", work / "node"], _copy_node
    ),
    Workload(
        "overlay",
        "cloudmask-overlay",
        lambda g, work: [g.store, "--scenes", g.scenes, "--out", work / "p.ext3", "--workers", 2],
    ),
    Workload("data", "cloudmask-data", _data),
    Workload("report", "cloudmask-report", lambda g, work: [g.runs, "--out", work / "report"]),
    Workload(
        "submission",
        "cloudmask-submission",
        lambda g, work: [g.runs / "e", "--out", work / "submission", "--other-data", "simulated"],
    ),
    Workload("crate", "cloudmask-fair", lambda g, work: ["crate", work / "run"], _copy_run),
    Workload(
        "croissant",
        "cloudmask-fair",
        lambda g, work: ["croissant", g.scenes, "--out", work / "croissant.json",
                         "--patches", g.store],
    ),
    Workload(
        "plan",
        "cloudmask-grid",
        lambda g, work: ["plan", g.experiment, "--runs", work / "runs"],
        _copy_runs,
    ),
    Workload(
        "status",
        "cloudmask-grid",
        lambda g, work: ["status", g.experiment, "--runs", work / "runs"],
        _copy_runs,
    ),
    Workload("run a row", "cloudmask-grid", _grid, tensorflow=True),
    Workload(
        "check a log", "cloudmask-check-log", lambda g, work: [g.run / "mlperf.log"]
    ),
    Workload("settings", "cloudmask", lambda g, work: ["config", g.run / "config.yaml"]),
    Workload("completion", "cloudmask", lambda g, work: ["completion", "bash"]),
)  # fmt: skip


def available() -> list[Workload]:
    """Those that this machine can run."""
    missing = set()
    if not os.environ.get(S3):
        missing.add("data")
    if shutil.which("mke2fs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        missing |= {"overlay", "extract", "share", "clean"}
    return [workload for workload in ALL if workload.name not in missing]


def draw(rng: random.Random, workloads: list[Workload]) -> Workload:
    """One of them, the quick ones more often, so that there is time for many cases."""
    return rng.choices(workloads, [1 / (1 + workload.seconds) for workload in workloads])[0]
