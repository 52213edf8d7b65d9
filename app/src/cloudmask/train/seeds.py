"""Seeds that are distinct: drawn when a run begins, logged, and kept when it continues.

The paper fixes the seed; MLPerf's rules want another one for each run, and all of them logged.
"""

import hashlib
import os
import secrets

from cloudmask.config.settings import DISTINCT, LARGEST_SEED, Config, load_config
from cloudmask.errors import InputError
from cloudmask.record.run_directory import RunDirectory

JOB = "SLURM_JOB_ID"


def with_seed(config: Config, run: RunDirectory, workers: int = 1) -> Config:
    """The configuration with a number as its seed: drawn if it is to be distinct.

    A run that has begun keeps the seed in its `config.yaml`. Several workers cannot ask each other
    yet: theirs comes from the number of their job and the run's path. Raises InputError if they
    have no such number.
    """
    if config.seed != DISTINCT:
        return config
    seed = None
    if run.config.is_file() and not run.finished:
        begun = load_config(run.config).seed
        seed = begun if isinstance(begun, int) else None
    if seed is None:
        seed = secrets.randbelow(LARGEST_SEED + 1) if workers == 1 else _of_job(run)
    return config.model_copy(update={"seed": seed})


def _of_job(run: RunDirectory) -> int:
    job = os.environ.get(JOB)
    if not job:
        raise InputError(
            f"seed: {DISTINCT}: several workers without a number of a job ({JOB}) cannot agree on "
            "one; expected a number"
        )
    digest = hashlib.sha256(f"{job} {run.path.absolute()}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (LARGEST_SEED + 1)
