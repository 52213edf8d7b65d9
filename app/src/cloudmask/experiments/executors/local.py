"""Rows on this machine, several at once, each on a GPU of its own."""

import contextlib
import ctypes
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cloudmask import lock
from cloudmask.errors import EXIT_CUT_OFF, CutOff, Fault, InputError
from cloudmask.experiments import submissions
from cloudmask.experiments.executors import Work, shown
from cloudmask.experiments.plan import Plan, Row

POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def devices() -> list[str]:
    """Names of the GPUs that may be used, as CUDA_VISIBLE_DEVICES takes them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    from cloudmask.record.gpus import Gpus

    gpus = Gpus()
    gpus.close()
    return list(gpus.uuids)


def command(plan: Plan, row: Row, work: Work) -> list[str]:
    """The command line of one row."""
    program = [sys.executable, "-m", "cloudmask.commands.grid", "run", str(plan.folder)]
    return [*program, "--index", str(row.index), *work.arguments()]


def submit(plan: Plan, rows: Sequence[Row], work: Work, jobs: int | None, dry_run: bool) -> None:
    """Run the rows, `jobs` at once (default: one on each GPU), and return when all are done.

    Raises Fault if some failed, CutOff if a signal ended it: the running rows save their state
    then. Should this process be killed, its rows are told to save and stop by the kernel.
    """
    if not work.data or not Path(work.data).exists():
        raise InputError(f"--data {work.data}: no such file; expected a patch store")
    cards = devices()
    slots = [cards[i % len(cards)] if cards else None for i in range(jobs or len(cards) or 1)]
    if dry_run:
        for row in rows:
            print(shown(command(plan, row, work)))
        return
    name = f".executor-{platform.node()}-{os.getpid()}"
    with lock.exclusive(plan.folder / name, str(plan.folder)), signals() as asked:
        submissions.record(plan, "local", str(os.getpid()), [row.index for row in rows], name)
        codes = _run(plan, rows, work, slots, asked)
    failed = [index for index, code in codes.items() if code not in (0, EXIT_CUT_OFF)]
    print(f"{plan.name}: {sum(code == 0 for code in codes.values())} of {len(rows)} rows finished")
    if asked:
        raise CutOff(f"{plan.folder}: its rows saved their state; cloudmask-grid rerun goes on")
    if failed:
        raise Fault(f"{len(failed)} rows failed ({failed[0]} first): see cloudmask-grid status")
    if EXIT_CUT_OFF in codes.values():
        raise CutOff(f"{plan.folder}: rows were cut off; cloudmask-grid rerun goes on")


def _run(
    plan: Plan, rows: Sequence[Row], work: Work, slots: list[str | None], asked: list[int]
) -> dict[int, int]:
    """Exit codes by row."""
    logs = plan.folder / "logs"
    logs.mkdir(exist_ok=True)
    waiting, free = list(rows), list(slots)
    running: dict[int, tuple[subprocess.Popen, str | None]] = {}
    codes: dict[int, int] = {}
    told = False
    while running or (waiting and not asked):
        while waiting and free and not asked:
            row, card = waiting.pop(0), free.pop(0)
            running[row.index] = (_start(plan, row, work, card, logs), card)
            print(f"row {row.index}: started{f' on {card}' if card else ''}", flush=True)
        if asked and not told:
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


def _start(plan: Plan, row: Row, work: Work, card: str | None, logs: Path) -> subprocess.Popen:
    environment = dict(os.environ)
    if card is not None:
        environment["CUDA_VISIBLE_DEVICES"] = card
    libc = ctypes.CDLL(None)
    with (logs / f"{row.index:04d}.log").open("ab") as log:
        return subprocess.Popen(
            command(plan, row, work),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            # A Ctrl-C at the terminal is ours alone: rows get SIGTERM from us, and save.
            start_new_session=True,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
        )


def word(code: int) -> str:
    """An exit code of cloudmask-grid run in words."""
    if code == 0:
        return "finished"
    return "cut off, can be continued" if code == EXIT_CUT_OFF else f"failed (exit code {code})"


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
    """The signals that asked to stop, so far."""
    asked: list[int] = []
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = [signal.signal(number, lambda given, _: asked.append(given)) for number in wanted]
    try:
        yield asked
    finally:
        for number, handler in zip(wanted, before, strict=True):
            signal.signal(number, handler)
