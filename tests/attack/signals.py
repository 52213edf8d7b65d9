"""Signals at random moments in every command, then the same command to its end."""

import random
import signal
import time
from pathlib import Path

from attack.launch import ENDING, Stage, Start
from attack.protocol import Verdict
from attack.workloads import available, draw

NUMBERS = (*ENDING, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)


class Signals:
    """Up to three interrupted starts of a command, each with a signal or two."""

    name = "signals"
    amount = 800  # cases, of one to six signals
    seconds = 600.0

    def unavailable(self) -> str:
        """It runs everywhere."""
        return ""

    def run(self, number: int, rng: random.Random, folder: Path) -> Verdict:
        """Signals by the clock; a quarter of them while the command still starts up."""
        workload = draw(rng, available())
        stage = Stage(folder)
        workload.setup_in(stage)
        verdict = Verdict(workload.name)
        for _ in range(rng.randint(1, 3)):
            # The interpreter's own beginning is met only in a real process.
            forked = workload.tensorflow or rng.random() < 0.7
            command = workload.start(stage, Start(forked=forked))
            sent = []
            for _ in range(rng.choice((1, 1, 2))):
                longest = 0.2 if rng.random() < 0.25 else 1.1 * workload.seconds
                moment, name = rng.uniform(0, longest), rng.choice(NUMBERS)
                group = rng.random() < 0.5
                command.wait(moment)
                if command.send(name, group):
                    sent.append(name)
                    verdict.what += f", {name.name} after {moment:.2f} s"
                if name == signal.SIGSTOP:
                    time.sleep(rng.uniform(0, 0.5))
                    command.send(signal.SIGCONT, group)
            verdict.fired += len(sent)
            ended = command.end()
            verdict.failures += ended.judged(*sent)
            if ended.code == 0 or workload.finished(stage):
                break
        verdict.failures += workload.finish(stage)
        return verdict
