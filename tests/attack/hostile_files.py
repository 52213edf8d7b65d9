"""Damaged and made-up files for every reader, in processes of bounded memory (tests/fuzz.py)."""

import random
from pathlib import Path

from fuzz import fuzz

from attack.protocol import HANG, LEFT, TRACEBACK, Failure, Verdict

BLOCK = 250  # files of one case: a process is started for them


class HostileFiles:
    """The fuzzer's cases; its numbers are its seeds."""

    name = "hostile files"
    amount = 20_000
    seconds = 1800.0

    def unavailable(self) -> str:
        """It runs everywhere."""
        return ""

    def run(self, number: int, rng: random.Random, folder: Path) -> Verdict:
        """A block of files."""
        first = rng.randrange(1 << 40)
        faults = fuzz(first + BLOCK, first)
        verdict = Verdict(f"files {first} to {first + BLOCK - 1}", BLOCK)
        verdict.failures = [Failure(_kind(line), line) for line in faults]
        return verdict


def _kind(line: str) -> str:
    if line.endswith(": hangs"):
        return HANG
    return LEFT if ": left [" in line else TRACEBACK
