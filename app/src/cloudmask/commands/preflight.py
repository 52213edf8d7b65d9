"""cloudmask-preflight: does this image fit this GPU and its driver."""

import argparse

from cloudmask.commands import run
from cloudmask.errors import InputError

EPILOG = """\
Exit code 0 if work can begin, 2 if not; then the report says which image to take instead.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="cloudmask-preflight",
        description="Compare what TensorFlow was compiled for with this node's GPU and driver.",
        epilog=EPILOG,
    )
    device = parser.add_mutually_exclusive_group()
    device.add_argument("--cpu", action="store_true", help="the CPU is meant: no GPU is no problem")
    device.add_argument("--auto", action="store_true", help="check the GPU only where there is one")
    return parser


def main() -> int:
    """Entry point."""
    arguments = parser().parse_args()
    device = "cpu" if arguments.cpu else "auto" if arguments.auto else "gpu"
    return run(lambda: _preflight(device))


def _preflight(device: str) -> None:
    from cloudmask.preflight import preflight

    report = preflight(device)
    print(report.text(), flush=True)
    if report.problems:
        raise InputError(report.problems[0])
