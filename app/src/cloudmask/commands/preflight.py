"""cloudmask-preflight: does this image fit this GPU and its driver; can a job's work begin."""

import argparse
from pathlib import Path

from cloudmask.commands import run
from cloudmask.errors import InputError

EPILOG = """\
examples:
  cloudmask-preflight
  cloudmask-preflight --cpu --overlay patches.ext3 --local $TMPDIR --experiment paper --index 3

Exit code 0 if work can begin, 2 if not; then the report names the image to take instead.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="cloudmask-preflight",
        description="Compare what TensorFlow was compiled for with this node's GPU and driver, and "
        "check what a job is given.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    device = parser.add_mutually_exclusive_group()
    device.add_argument(
        "--cpu", action="store_true", help="use the CPU, whether or not there is a GPU"
    )
    device.add_argument("--auto", action="store_true", help="check the GPU only where there is one")
    job = parser.add_argument_group("what a job is given")
    job.add_argument("--overlay", type=Path, metavar="IMAGE.ext3", help="overlay image")
    job.add_argument(
        "--data", type=Path, metavar="FILE.h5", help="patch store, of which every byte is verified"
    )
    job.add_argument(
        "--local",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="directory of the node's own disk; may be repeated",
    )
    job.add_argument("--experiment", metavar="E", help="experiment, as for cloudmask-grid")
    job.add_argument("--index", type=int, default=1, metavar="N", help="number of its row (1)")
    job.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="where the runs are (runs)",
    )
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
