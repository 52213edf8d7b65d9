"""python -m attack: see the package."""

import argparse
import signal
import sys
from pathlib import Path

from attack.runner import ATTACKS, Options, run, write


def main() -> int:
    """Entry point; exit code 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="attack", description="Attack every command.")
    parser.add_argument("amount", type=float, nargs="?", default=1.0, help="1: an hour's amount")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="at most")
    parser.add_argument("--attack", choices=tuple(ATTACKS), action="append", help="only this one")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other cases")
    parser.add_argument("--case", type=int, help="this case alone")
    parser.add_argument("--processes", type=int, default=2, help="at once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there as well")
    parser.add_argument("--inputs", type=Path, metavar="DIR", help="keep the inputs there")
    arguments = parser.parse_args()
    options = Options(
        arguments.amount,
        arguments.minutes,
        tuple(arguments.attack or ATTACKS),
        arguments.seed,
        arguments.case,
        1 if arguments.case is not None else arguments.processes,
        arguments.inputs,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and leave nothing
    for name in options.attacks:
        attack = ATTACKS[name]
        print(f"{name}: {attack.unavailable() or round(attack.amount * options.amount)}")
    campaign = run(options)
    print("\n".join(campaign.table()))
    if arguments.json:
        write(campaign, arguments.json)
    return int(bool(campaign.failures))


if __name__ == "__main__":
    sys.exit(main())
