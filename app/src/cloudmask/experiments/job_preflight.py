"""A job's preflight: overlay, row of the plan and free space, before GPU time is lost."""

import os
from collections.abc import Sequence
from pathlib import Path

from cloudmask.config.settings import Config
from cloudmask.errors import InputError
from cloudmask.experiments import plan
from cloudmask.experiments.experiment import load_experiment
from cloudmask.hardware.preflight import PreflightReport
from cloudmask.overlay import manifest
from cloudmask.overlay.ext3 import Ext3
from cloudmask.overlay.layout import UPPER
from cloudmask.patches.verification import verify
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system import disk
from cloudmask.system.text import plural

# Of the published network; it grows with the square of model.filters.
PARAMETERS, FILTERS = 1_948_609, 32
# Two checkpoints, a third while it is written, each with weights, Adam's two moments and the best
# weights; the saved network; logs.
RUN_BYTES_PER_PARAMETER = (3 * 4 + 3) * 4
LOG_BYTES = 20_000_000


def check_overlay(report: PreflightReport, image: Path, local: Sequence[Path]) -> None:
    """Whether the image is whole and as its manifest describes it, and where its files would fit.

    Headers only: staging compares every byte. Too little room on the node's disk is no problem of
    the job, only a slow one.
    """
    try:
        found = manifest.read(image)
        with Ext3(image) as source:
            for content in found.files:
                size = source.file(UPPER + content.path).size
                if size != content.size:
                    raise InputError(
                        f"{image}: {content.path} has {size} bytes, its manifest has "
                        f"{content.size}; copy both again"
                    )
    except (InputError, OSError) as error:
        report.problem(str(error), "make overlay makes one")
        return
    size = sum(content.size for content in found.files)
    report.add("overlay", f"{image}: {plural(len(found.files), 'file')}, {size / 1e9:.2f} GB")
    for directory in local:
        if not directory.is_dir():
            report.add("local", f"{directory}: no such directory")
            continue
        kind, free = disk.file_system(directory), disk.free_space(directory)
        note = "" if free > size else ", too little; another task may have the files there already"
        if kind in disk.NETWORK:
            note = ", not the node's own: skipped"
        elif kind in disk.MEMORY:
            note += ", of the job's memory"
        report.add("local", f"{directory}: {free / 1e9:.2f} GB free on {kind or 'unknown'}{note}")
    if not local:
        report.add("local", "no node-local directory: data is read from the shared file system")


def check_store(report: PreflightReport, path: Path) -> None:
    """Whether a patch store is whole: every row as it was written, all its numbers finite."""
    try:
        store = verify(path)
    except (InputError, OSError) as error:
        report.problem(str(error), "make it again with cloudmask-prepare")
        return
    note = "" if store.checksums is not None else ", without checksums (made by an older version)"
    report.add("data", f"{path}: {plural(len(store.scenes), 'scene')}, {store.checksum[:12]}{note}")


def check_row(report: PreflightReport, name: str, index: int, runs: Path) -> None:
    """Whether the row is in the plan, its configuration is sound and its run can be written."""
    try:
        folder = Path(name)
        planned = plan.load(folder) if folder.is_dir() else None
        planned = planned or plan.preview(load_experiment(name), runs)
        row = planned.row(index)
        config = planned.config(row)
    except InputError as error:
        report.problem(str(error))
        return
    training = config.training
    report.add(
        "row",
        f"{index} of {len(planned.rows)} of {planned.name}: at most "
        f"{plural(training.epochs, 'epoch')}, "
        f"global batch {training.batch_size}, learning rate {training.learning_rate:g}",
    )
    _check_run(report, planned.run(row), config)


def _check_run(report: PreflightReport, run: RunDirectory, config: Config) -> None:
    state = "new"
    if run.finished:
        state = "finished already"
    elif run.checkpoint_files():
        state = "continues from its last checkpoint"
    existing = next(path for path in (run.path, *run.path.absolute().parents) if path.exists())
    free = disk.free_space(existing)
    report.add("run", f"{run}: {state}; {free / 1e9:.2f} GB free")
    parameters = PARAMETERS * (config.model.filters / FILTERS) ** 2
    need = parameters * RUN_BYTES_PER_PARAMETER + LOG_BYTES
    if state == "new" and free < need:
        report.problem(f"{run}: needs about {need / 1e6:.0f} MB, {free / 1e6:.0f} MB are free")
    if not os.access(existing, os.W_OK):
        report.problem(f"{existing}: cannot be written to")
