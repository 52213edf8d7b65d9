"""Failing writes, syncs, renames and opens in every command, then the same without faults."""

import errno
import random
import re
from pathlib import Path

from attack import shim
from attack.ground import ground
from attack.launch import Stage, Start
from attack.protocol import Verdict
from attack.workloads import available, draw

REMOVAL = re.compile(r"^(unlink|rmdir)|^open\w* .*\.tmp")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EINTR, shim.SHORT)


class Faults:
    """One call of the C library, or all from one on, fails below the folder of the outputs."""

    name = "faults"
    amount = 1400  # cases, most of which fire twice
    seconds = 600.0

    def unavailable(self) -> str:
        """Without a C compiler there is no shim."""
        return "" if shim.compiler() else "no C compiler"

    def run(self, number: int, rng: random.Random, folder: Path) -> Verdict:
        """Two faults in one command: the second meets what the first has left."""
        workload = draw(rng, [w for w in available() if ground().references[w.name].calls])
        stage = Stage(folder)
        workload.setup_in(stage)
        verdict = Verdict(workload.name)
        struck = []
        for _ in range(2):
            fault = _draw(rng, ground().references[workload.name].calls)
            state = shim.State(folder / "shim", stage.work, fault)
            ended = workload.start(stage, Start(fault=state)).end()
            verdict.fired += bool(state.fired)
            verdict.what += f", {fault} ({state.what}), ended with {ended.code}"
            verdict.failures += ended.judged()
            struck.append(state.what)
            if workload.finished(stage):
                break
        removed = not any(REMOVAL.search(what) for what in struck)
        verdict.failures += workload.finish(stage, removed)
        return verdict


def _draw(rng: random.Random, calls: int) -> shim.Fault:
    error, at = rng.choice(ERRORS), rng.randint(1, calls)
    if error == shim.SHORT:
        return shim.Fault(at, at + 20, error)  # until there is a write
    # A disk stays full, a failing one may fail once.
    stays = error in (errno.ENOSPC, errno.EDQUOT) and rng.random() < 0.5
    return shim.Fault(at, 1 << 40 if stays else at, error)
