"""Two commands into one place at once: one of them may be refused, no result may be lost."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attack.contents import contents
from attack.ground import Ground, ground
from attack.launch import Running, Stage, Start
from attack.protocol import LOST, WRONG, Failure, Verdict

Arguments = Callable[[Ground, Path], list]


@dataclass(frozen=True)
class Writer:
    """A command that writes into the folder that it gets, and what it alone would leave."""

    name: str
    command: str
    arguments: Arguments


def _model(*options: str) -> Arguments:
    def arguments(ground: Ground, out: Path) -> list:
        model = ground.run / "model.keras"
        return ["--model", model, "--scenes", ground.inference, "--out", out, *options]

    return arguments


def _submission(*options: str) -> Arguments:
    def arguments(ground: Ground, out: Path) -> list:
        return [ground.runs / "e", "--out", out, "--other-data", "simulated", *options]

    return arguments


WRITERS = (
    Writer("evaluate", "cloudmask-eval", _model()),
    Writer("evaluate with 0.9", "cloudmask-eval", _model("--threshold", "0.9")),
    Writer(
        "predict",
        "cloudmask-predict",
        lambda g, out: ["--model", g.run / "model.keras", g.inference, "--out", out],
    ),
    Writer("report", "cloudmask-report", lambda g, out: [g.runs, "--out", out]),
    Writer("submission", "cloudmask-submission", _submission()),
    Writer("best submission", "cloudmask-submission", _submission("--best")),
    Writer(
        "prepare",
        "cloudmask-prepare",
        lambda g, out: ["--scenes", g.scenes, "--out", out / "f", "--workers", 1],
    ),
    Writer(
        "prepare float32",
        "cloudmask-prepare",
        lambda g, out: ["--scenes", g.scenes, "--out", out / "f", "--workers", 1,
                        "--dtype", "float32"],
    ),
    Writer("overlay", "cloudmask-overlay", lambda g, out: [g.store, "--out", out / "f"]),
    Writer("extract", "cloudmask-stage", lambda g, out: ["extract", g.overlay, "--out", out / "f"]),
    Writer(
        "croissant",
        "cloudmask-fair",
        lambda g, out: ["croissant", g.scenes, "--out", out / "f"],
    ),
    Writer(
        "train",
        "cloudmask-train",
        lambda g, out: ["--data", g.store, "--set", "model.filters=2", "--set",
                        "training.epochs=1", "--set", "training.batch_size=2", "--run", out],
    ),
)  # fmt: skip


class Collisions:
    """A pair of commands with one output, a random moment apart."""

    name = "collisions"
    amount = 150
    seconds = 600.0

    def unavailable(self) -> str:
        """It runs everywhere."""
        return ""

    def run(self, number: int, rng: random.Random, folder: Path) -> Verdict:
        """Each one that says it succeeded must have left all that it leaves alone."""
        pair = rng.choice(WRITERS), rng.choice(WRITERS)
        apart = rng.choice((0.0, rng.uniform(0, 0.3), rng.uniform(0, 2)))
        verdict = Verdict(f"{pair[0].name} and {pair[1].name}, {apart:.2f} s apart", 1)
        out = folder / "out"
        out.mkdir()
        started: list[Running] = []
        for index, writer in enumerate(pair):
            stage = Stage(folder / str(index))
            started.append(Running(writer.command, writer.arguments(ground(), out), stage, Start()))
            started[0].wait(apart if index == 0 else 0)
        ended = [command.end() for command in started]
        codes = [end.code for end in ended]
        verdict.what += f", ended with {codes}"
        for end in ended:
            verdict.failures += end.judged()
        if codes.count(0) == 0:
            verdict.failures.append(Failure(LOST, "none of the two succeeded"))
        found = contents(out)
        for index, (writer, code) in enumerate(zip(pair, codes, strict=True)):
            if code == 0:
                verdict.failures += _missing(writer, found, Stage(folder / f"alone {index}"))
        return verdict


def _missing(writer: Writer, found: dict[str, str], stage: Stage) -> list[Failure]:
    """What a command that succeeded has not left: compared with itself alone."""
    alone = stage.folder / "out"
    alone.mkdir()
    Running(writer.command, writer.arguments(ground(), alone), stage, Start()).end()
    failures = []
    for name, digest in contents(alone).items():
        if name not in found:
            failures.append(Failure(LOST, f"{writer.name}: {name} is missing"))
        elif found[name] != digest:
            failures.append(Failure(WRONG, f"{writer.name}: {name} is another's"))
    return failures
