"""cloudmask-grid: experiments over many runs."""

import argparse
import shutil
import sys
import time
from pathlib import Path

from cloudmask.commands import jobs, require_tensorflow, run
from cloudmask.commands.command_parser import command_parser
from cloudmask.commands.options import add_dry_run, add_index, add_runs

EPILOG = """\
examples:
  cloudmask-grid plan app/configs/experiments/paper.yaml
  cloudmask-grid submit study.yaml --data patches.h5 --jobs 2
  cloudmask-grid submit study.yaml --site greene --gpu v100 --dry-run
  cloudmask-grid chain study.yaml --site greene --gpu v100 --dry-run
  cloudmask-grid batch slurm/scaling.sbatch --site greene --gpu v100 --gpus 4 --nodes 2
  cloudmask-grid status study.yaml
  sbatch --array=$(cloudmask-grid missing study.yaml) slurm/train.sbatch study.yaml
  cloudmask-grid rerun study.yaml --data patches.h5
  cloudmask-grid run paper --index 1 --data patches.h5 --scenes data/inference

EXPERIMENT is a file, the name of one that comes with the package, or the folder of a frozen one;
without it, the paper's. The runs lie in runs/NAME, where the plan is frozen with the first row
that is run or submitted. docs/experiments.md describes the file.
"""
WATCH_SECONDS = 5.0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("grid", EPILOG)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    planning = _verb(verbs, "plan", "show the table of rows and what it would cost; writes nothing")
    planning.add_argument(
        "--data", type=Path, metavar="FILE.h5", help="patch store, to estimate the cost with"
    )
    submit = _verb(verbs, "submit", "freeze the plan and start rows not yet submitted")
    rerun = _verb(verbs, "rerun", "start again what failed, was interrupted or lost, or --index")
    rerun.add_argument(
        "--fresh", action="store_true", help="move what --index has left aside and begin anew"
    )
    for verb in (submit, rerun):
        _executor(verb)
        jobs.add_shape(verb)
    jobs.add(verbs, _verb(verbs, "chain", jobs.CHAIN))
    _verb(verbs, "status", "show the state of every row")
    watch = _verb(verbs, "watch", "show the state again and again until nothing runs or waits")
    watch.add_argument(
        "--every", type=float, default=WATCH_SECONDS, metavar="S", help="seconds between"
    )
    _verb(verbs, "missing", "print what is neither finished nor running, as --array takes it")
    where = _verb(verbs, "where", "print the run directory of a row")
    add_index(where, required=True)
    row = _verb(verbs, "run", "execute one row in this process, as cloudmask-train would")
    add_index(row, required=True)
    _data(row, required=True)
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: _dispatch(parser().parse_args()))


def _dispatch(arguments: argparse.Namespace) -> None:
    VERBS[arguments.verb](arguments)


def _verb(verbs, name: str, what: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    verb.add_argument(
        "experiment",
        nargs="?",
        default="paper",
        metavar="EXPERIMENT",
        help="experiment file, the name of one, or the folder of a frozen one",
    )
    add_runs(verb)
    return verb


def _data(verb: argparse.ArgumentParser, required: bool = False) -> None:
    verb.add_argument("--data", required=required, metavar="FILE.h5", help="patch store")
    verb.add_argument(
        "--scenes",
        nargs="+",
        default=[],
        metavar="PATH",
        help="scenes: folders or files, to evaluate on at the end of each run",
    )


def _executor(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--index", metavar="1-3,7", help="only these rows (default: all)")
    verb.add_argument(
        "--site",
        default="local",
        metavar="SITE",
        help="site file or its name, for rows that name none; local: this machine",
    )
    verb.add_argument(
        "--gpu",
        default="",
        metavar="GPU",
        help="GPU of the site, for rows that name none (default: its only one)",
    )
    verb.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="rows at once on this machine (default: one on each GPU)",
    )
    add_dry_run(verb)
    _data(verb)


def _plan(arguments: argparse.Namespace) -> None:
    from cloudmask.config.settings import unidentified
    from cloudmask.experiments import cost, table

    planned = _planned(arguments, write=False)
    if planned.labels:
        print(f"no settings here, kept as labels: {', '.join(planned.labels)}")
    for line in table.plan_lines(planned):
        print(line)
    for line in cost.lines(planned, arguments.runs, arguments.data):
        print(line)
    # Before the time is spent, since a run's log cannot be changed afterwards.
    missing = unidentified(planned.config(planned.rows[0]).submission.model_dump())
    if missing:
        print(f"not to be submitted to MLCommons: {', '.join(missing)} not set")


def _submit(arguments: argparse.Namespace) -> None:
    _start(arguments, "planned")


def _rerun(arguments: argparse.Namespace) -> None:
    from cloudmask.experiments.state import TO_RERUN

    _start(arguments, *TO_RERUN)


def _start(arguments: argparse.Namespace, *names: str) -> None:
    from cloudmask.errors import InputError
    from cloudmask.experiments import submit

    if arguments.jobs is not None and arguments.jobs < 1:
        raise InputError(f"--jobs {arguments.jobs}: expected at least 1")
    planned = _planned(arguments, write=False)
    fresh = getattr(arguments, "fresh", False)
    if fresh and (not arguments.index or arguments.dry_run):
        raise InputError("--fresh: expected with --index, and not with --dry-run")
    if fresh:
        rows = submit.choose_anew(planned, arguments.index)
    else:
        rows = submit.choose(planned, names, arguments.index)
    if not rows:
        print(f"{planned.name}: no row is {' or '.join(names)}; see cloudmask-grid status")
        return
    assignments = submit.assign(planned, rows, arguments.site, jobs.request(arguments))
    if arguments.dry_run:
        for line in submit.command_lines(assignments):
            print(line)
        return
    # Only now, when nothing can be refused any more.
    _planned(arguments, write=True)
    if fresh:
        submit.move_aside(planned, rows)
    submit.start(planned, assignments)


def _status(arguments: argparse.Namespace) -> None:
    from cloudmask.experiments import state

    planned = _planned(arguments, write=False)
    for line in state.lines(planned, state.states(planned)):
        print(line)


def _watch(arguments: argparse.Namespace) -> None:
    from cloudmask.errors import InputError
    from cloudmask.experiments import state

    if not 0 < arguments.every < float("inf"):
        raise InputError(f"--every {arguments.every:g}: expected seconds, above 0")
    printed = None
    while True:
        planned = _planned(arguments, write=False)
        found = state.states(planned)
        if sys.stdout.isatty():
            lines = state.screen(planned, found, shutil.get_terminal_size().lines - 1)
            print("\033[H\033[J" + "\n".join(lines), flush=True)
        elif (line := state.summary(found)) != printed:
            print(printed := line, flush=True)
        if not any(s.name in ("queued", "running") for s in found):
            return
        time.sleep(arguments.every)


def _missing(arguments: argparse.Namespace) -> None:
    from cloudmask.experiments import plan, state

    planned = _planned(arguments, write=False)
    left = [
        s.row.index
        for s in state.states(planned)
        if s.name in state.UNFINISHED and s.row.index not in planned.dropped
    ]
    if left:
        print(plan.ranges(left))


def _run(arguments: argparse.Namespace) -> None:
    from cloudmask.commands import train
    from cloudmask.experiments import row
    from cloudmask.scenes.finding import find_scenes

    require_tensorflow()
    frozen = _planned(arguments, write=True)
    chosen = frozen.row(arguments.index)
    scenes = find_scenes(arguments.scenes, part="inference") if arguments.scenes else []
    result = row.execute(frozen, chosen, Path(arguments.data), scenes, sys.argv)
    if result is None:
        print(f"{frozen.run(chosen)}: finished already")
    else:
        train.print_result(frozen.run(chosen).path, result)


def _where(arguments: argparse.Namespace) -> None:
    planned = _planned(arguments, write=True)
    row = planned.row(arguments.index)
    planned.config(row)
    print(planned.run(row))


def _planned(arguments: argparse.Namespace, write: bool):
    """The plan: of a frozen experiment's folder, or of a file."""
    from cloudmask.errors import InputError
    from cloudmask.experiments import plan

    folder = Path(arguments.experiment)
    if folder.is_dir():
        frozen = plan.load(folder)
        if frozen is None:
            raise InputError(f"{folder}: holds no {plan.NAME}; expected an experiment's folder")
        return frozen
    from cloudmask.experiments.experiment import load_experiment

    experiment = load_experiment(folder)
    return (
        plan.freeze(experiment, arguments.runs)
        if write
        else plan.preview(experiment, arguments.runs)
    )


VERBS = {
    "plan": _plan,
    "submit": _submit,
    "rerun": _rerun,
    "chain": lambda arguments: jobs.chain(arguments, _planned),
    "batch": jobs.batch,
    "status": _status,
    "watch": _watch,
    "missing": _missing,
    "where": _where,
    "site": jobs.site,
    "run": _run,
}

if __name__ == "__main__":
    sys.exit(main())
