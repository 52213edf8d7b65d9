"""What an attack is, and what it finds."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

LOST = "lost"  # a finished output changed or vanished
TRACEBACK = "traceback"  # or a crash, or an end without its one clear line
HANG = "hang"
LEFT = "left behind"  # temporary files, locks, processes, mounts
WRONG = "wrong bits"  # not what an undisturbed run makes
KINDS = (LOST, TRACEBACK, HANG, LEFT, WRONG)


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong: of which kind, and what was seen."""

    kind: str
    text: str


@dataclass
class Verdict:
    """What a case did: in words, how often the attack struck, and what went wrong."""

    what: str
    fired: int = 0
    failures: list[Failure] = field(default_factory=list)


class Attack(Protocol):
    """One way of disturbing.

    amount: how often it strikes in an hour's amount. seconds: what a case may take.
    """

    name: str
    amount: int
    seconds: float

    def unavailable(self) -> str:
        """Why this machine cannot run it, "" if it can."""

    def run(self, number: int, rng: random.Random, folder: Path) -> Verdict:
        """Run the case of this number in an empty folder; all choices come from `rng`."""
