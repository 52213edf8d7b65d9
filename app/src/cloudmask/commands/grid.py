"""cloudmask-grid: experiments over many runs."""

import argparse
import sys
from pathlib import Path

from cloudmask.commands import run

EPILOG = """\
examples:
  cloudmask-grid plan app/configs/experiments/paper.yaml
  cloudmask-grid run paper --index 1 --data patches.h5 --scenes data/inference

EXPERIMENT is a file, or the name of one that comes with the package; without it, the paper's. The
runs lie in runs/NAME, where the plan is frozen with the first row that is run or submitted.
docs/experiments.md describes the file.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="cloudmask-grid",
        description="Plan, run and follow an experiment over many runs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _verb(verbs, "plan", "show the table of rows and what it would cost; writes nothing")
    row = _verb(verbs, "run", "execute one row in this process, as cloudmask-train would")
    row.add_argument("--index", type=int, required=True, metavar="N", help="number of the row")
    _data(row, required=True)
    return parser


def main() -> int:
    """Entry point."""
    arguments = parser().parse_args()
    return run(lambda: VERBS[arguments.verb](arguments))


def _verb(verbs, name: str, what: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    verb.add_argument("experiment", nargs="?", default="paper", metavar="EXPERIMENT")
    verb.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs lie (runs)"
    )
    return verb


def _data(verb: argparse.ArgumentParser, required: bool = False) -> None:
    verb.add_argument("--data", type=Path, required=required, metavar="FILE.h5", help="patch store")
    verb.add_argument(
        "--scenes",
        nargs="+",
        default=[],
        metavar="PATH",
        help="evaluate on these whole scenes at the end of each run",
    )


def _plan(arguments: argparse.Namespace) -> None:
    from cloudmask.experiments import cost, plan, table
    from cloudmask.experiments.experiment import load_experiment

    experiment = load_experiment(arguments.experiment)
    planned = plan.preview(experiment, arguments.runs)
    if experiment.labels:
        print(f"no settings here, kept as labels: {', '.join(experiment.labels)}")
    for line in table.plan_lines(planned):
        print(line)
    for line in cost.lines(planned, arguments.runs):
        print(line)


def _run(arguments: argparse.Namespace) -> None:
    from cloudmask.commands import train
    from cloudmask.experiments import plan, row
    from cloudmask.experiments.experiment import load_experiment
    from cloudmask.scenes import find_scenes

    frozen = plan.freeze(load_experiment(arguments.experiment), arguments.runs)
    chosen = frozen.row(arguments.index)
    scenes = find_scenes(arguments.scenes, role="inference") if arguments.scenes else []
    result = row.execute(frozen, chosen, arguments.data, scenes, sys.argv)
    if result is None:
        print(f"{frozen.run(chosen)}: finished already")
    else:
        train.tell(frozen.run(chosen), result)


VERBS = {"plan": _plan, "run": _run}

if __name__ == "__main__":
    sys.exit(main())
