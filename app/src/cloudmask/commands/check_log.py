"""cloudmask-check-log: whether an MLPerf log is compliant, and if not, why."""

import argparse
import sys
from pathlib import Path

from cloudmask.commands import run
from cloudmask.commands.command_parser import command_parser
from cloudmask.system.text import plural

EPILOG = """\
examples:
  cloudmask-check-log runs/paper-1/mlperf.log
  cloudmask-check-log runs/paper/*/mlperf.log
  cloudmask-check-log --distinct-seeds runs/hpc/*/mlperf.log

Runs the compliance checker of mlperf-logging with the rules of cloudmask (HPC 3.0.0, open division,
and the Science rules). Exit code 0: all logs are compliant, 1: one is not, 2: one cannot be read.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("check-log", EPILOG)
    parser.add_argument(
        "--distinct-seeds",
        action="store_true",
        help="also require that no two logs have the same seed, as the HPC rules do",
    )
    parser.add_argument(
        "logs", nargs="+", type=Path, metavar="FILE.log", help="mlperf.log of a run"
    )
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: _check(parser().parse_args()))


def _check(arguments: argparse.Namespace) -> None:
    from cloudmask.errors import Fault
    from cloudmask.record.compliance import findings
    from cloudmask.record.rules import repeated_seeds

    broken = 0
    for log in arguments.logs:
        found = findings(log)
        broken += bool(found)
        print(f"{log}: {'not compliant' if found else 'compliant'}")
        for line in found:
            print(f"  {line}")
    repeated = repeated_seeds(arguments.logs) if arguments.distinct_seeds else []
    for line in repeated:
        print(line)
    if repeated and not broken:
        raise Fault("the seeds are not distinct; expected seed: distinct in the configuration")
    if broken:
        raise Fault(f"{broken} of {plural(len(arguments.logs), 'log')} not compliant")


if __name__ == "__main__":
    sys.exit(main())
