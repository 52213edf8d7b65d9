"""Rows on this machine, several at once, each on a GPU of its own."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.experiments.executors import Work, word
from cloudmask.experiments.plan import Plan, Row
from cloudmask.system.signals import StopRequest

POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def devices() -> list[str]:
    """Names of the GPUs that may be used, as CUDA_VISIBLE_DEVICES takes them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    from cloudmask.hardware.gpus import Gpus

    gpus = Gpus()
    gpus.close()
    return list(gpus.uuids)


@dataclass(frozen=True)
class Local:
    """This machine; `jobs` rows at once, None: one on each GPU."""

    work: Work
    jobs: int | None = None

    def check(self, rows: Sequence[Row]) -> None:
        """Raise InputError if rows cannot be run here."""
        if not self.work.data:
            raise InputError("--data FILE.h5: expected for rows on this machine (or --site)")
        if not Path(self.work.data).exists():
            raise InputError(f"--data {self.work.data}: no such file; expected a patch store")

    def command(self, plan: Plan, row: Row) -> list[str]:
        """The command line of one row."""
        program = [sys.executable, "-m", "cloudmask.commands.grid", "run", str(plan.folder)]
        return [*program, "--index", str(row.index), *self.work.arguments()]

    def execute(self, plan: Plan, rows: Sequence[Row], stop: StopRequest) -> dict[int, int]:
        """Run the rows; returns their exit codes.

        Once a stop is requested the running rows save their state and no other is started.
        Should this process be killed, its rows are told to save by the kernel.
        """
        cards = devices()
        count = self.jobs or len(cards) or 1
        free = [cards[i % len(cards)] if cards else None for i in range(count)]
        logs = plan.folder / "logs"
        logs.mkdir(exist_ok=True)
        waiting = list(rows)
        running: dict[int, tuple[subprocess.Popen, str | None]] = {}
        codes: dict[int, int] = {}
        told = False
        while running or (waiting and not stop.requested):
            while waiting and free and not stop.requested:
                row, card = waiting.pop(0), free.pop(0)
                log = logs / f"{row.index:04d}.log"
                running[row.index] = (_start(self.command(plan, row), card, log), card)
                print(f"row {row.index}: started{f' on {card}' if card else ''}", flush=True)
            if stop.requested and not told:
                told = True
                for process, _ in running.values():
                    process.send_signal(signal.SIGTERM)
            for index, (process, card) in list(running.items()):
                code = process.poll()
                if code is not None:
                    del running[index]
                    free.append(card)
                    codes[index] = code
                    print(f"row {index}: {word(code)}", flush=True)
            time.sleep(POLL_SECONDS)
        return codes


def _start(command: Sequence[str], card: str | None, log: Path) -> subprocess.Popen:
    environment = dict(os.environ)
    if card is not None:
        environment["CUDA_VISIBLE_DEVICES"] = card
    libc = ctypes.CDLL(None)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            # A Ctrl-C at the terminal is ours alone: rows get SIGTERM from us, and save.
            start_new_session=True,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
        )
