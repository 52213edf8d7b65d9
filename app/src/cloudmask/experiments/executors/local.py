"""Rows on this machine, several at once, each on a GPU of its own."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.experiments.executors.executor import Executor, Launch, outcome
from cloudmask.experiments.plan import Plan, Row
from cloudmask.record.job_files import SITE
from cloudmask.system import process
from cloudmask.system.signals import StopRequest

POLL_SECONDS = 0.1

logger = logging.getLogger(__name__)


def devices() -> list[str]:
    """Names of the GPUs that may be used, as CUDA_VISIBLE_DEVICES takes them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    from cloudmask.hardware.gpus import Gpus

    gpus = Gpus()
    gpus.close()
    return [card.uuid for card in gpus.cards]


class Local(Executor):
    """This machine."""

    site_model = None
    attended = True

    def launches(self, plan: Plan, rows: Sequence[Row]) -> list[Launch]:
        """One command for each row; raises InputError if there is no patch store."""
        inputs = self.request.inputs
        if not inputs.data:
            raise InputError("--data FILE.h5: expected for rows on this machine (or --site)")
        if not Path(inputs.data).exists():
            raise InputError(f"--data {inputs.data}: no such file; expected a patch store")
        program = (sys.executable, "-m", "cloudmask.commands.grid", "run", str(plan.folder))
        return [
            Launch((row,), (*program, "--index", str(row.index), *inputs.arguments()))
            for row in rows
        ]

    def start(self, plan: Plan, launches: Sequence[Launch], stop: StopRequest) -> dict[int, int]:
        """Run the rows, each on a GPU of its own.

        Should this process be killed, the kernel sends its rows the signal to save.
        """
        cards = devices()
        count = self.request.jobs or len(cards) or 1
        free = [cards[i % len(cards)] if cards else None for i in range(count)]
        logs = plan.folder / "logs"
        logs.mkdir(exist_ok=True)
        rows = _Processes(list(launches), free, logs)
        while rows.running or (rows.waiting and not stop.requested):
            if stop.requested:
                rows.stop()
            else:
                rows.start()
            rows.collect()
            time.sleep(POLL_SECONDS)
        return rows.codes


@dataclass
class _Processes:
    """Rows that wait, run and have ended; `free` are the GPUs that no row has, None for a CPU."""

    waiting: list[Launch]
    free: list[str | None]
    logs: Path
    running: dict[int, tuple[subprocess.Popen, str | None]] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)
    stopping: bool = False

    def start(self) -> None:
        """Start rows as long as a GPU is free."""
        while self.waiting and self.free:
            launch, card = self.waiting.pop(0), self.free.pop(0)
            (row,) = launch.rows
            log = self.logs / f"{row.index:04d}.log"
            self.running[row.index] = (_start(launch.command, card, log), card)
            logger.info(f"row {row.index}: started{f' on {card}' if card else ''}")

    def stop(self) -> None:
        """Send the running rows, once, the signal to save."""
        if not self.stopping:
            for row, _ in self.running.values():
                row.send_signal(signal.SIGTERM)
        self.stopping = True

    def collect(self) -> None:
        """Take the exit codes of the rows that have ended."""
        for index, (row, card) in list(self.running.items()):
            code = row.poll()
            if code is not None:
                del self.running[index]
                self.free.append(card)
                self.codes[index] = code
                logger.info(f"row {index}: {outcome(code)}")


def _start(command: Sequence[str], card: str | None, log: Path) -> subprocess.Popen:
    # Whatever site was named before, these rows run on this machine.
    environment = os.environ | {SITE: "local"}
    if card is not None:
        environment["CUDA_VISIBLE_DEVICES"] = card
    with log.open("ab") as output:
        return process.start(
            command,
            signal.SIGTERM,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            # A Ctrl-C at the terminal is ours alone: rows get SIGTERM from us, and save.
            start_new_session=True,
        )
