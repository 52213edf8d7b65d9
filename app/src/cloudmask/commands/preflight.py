"""cloudmask-preflight: does this image fit this GPU and its driver; can a job's work begin."""

import argparse
from pathlib import Path

from cloudmask.commands import run
from cloudmask.commands.command_parser import command_parser
from cloudmask.commands.options import add_index, add_local, add_runs
from cloudmask.errors import InputError

EPILOG = """\
examples:
  cloudmask-preflight
  cloudmask-preflight --cpu --overlay patches.ext3 --local $TMPDIR --experiment paper --index 3

Exit code 0 if work can begin, 2 if not; then the report names the image to take instead.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("preflight", EPILOG)
    device = parser.add_mutually_exclusive_group()
    device.add_argument(
        "--cpu", action="store_true", help="use the CPU, whether or not there is a GPU"
    )
    device.add_argument("--auto", action="store_true", help="check the GPU only where there is one")
    job = parser.add_argument_group("what a job is given")
    job.add_argument("--overlay", type=Path, metavar="FILE.ext3", help="overlay image")
    job.add_argument(
        "--data", type=Path, metavar="FILE.h5", help="patch store, of which every byte is verified"
    )
    add_local(job, "one has to have room for the overlay's files")
    job.add_argument(
        "--experiment",
        metavar="EXPERIMENT",
        help="experiment file, the name of one, or the folder of a frozen one",
    )
    add_index(job, default=1)
    add_runs(job)
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: _preflight(parser().parse_args()))


def _preflight(arguments: argparse.Namespace) -> None:
    from cloudmask.experiments import job_preflight
    from cloudmask.hardware.preflight import preflight

    report = preflight("cpu" if arguments.cpu else "auto" if arguments.auto else "gpu")
    if arguments.overlay:
        job_preflight.check_overlay(report, arguments.overlay, arguments.local)
    if arguments.data:
        job_preflight.check_store(report, arguments.data)
    if arguments.experiment:
        job_preflight.check_row(report, arguments.experiment, arguments.index, arguments.runs)
    print(report.text(), flush=True)
    if report.problems:
        raise InputError(report.problems[0])
