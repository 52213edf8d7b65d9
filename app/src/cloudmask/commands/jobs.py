"""The verbs of cloudmask-grid that are about jobs of Slurm: chain, batch, site."""

import argparse
from collections.abc import Callable
from pathlib import Path

CHAIN = "on Slurm: prepare the overlay if there is none, train, evaluate"


def add(verbs, chain: argparse.ArgumentParser) -> None:
    """Add the verbs; `chain` has the arguments of an experiment already."""
    chain.add_argument("--index", metavar="1-3,7", help="only these rows")
    what = "submit another job script of slurm/ with a site's options"
    batch = verbs.add_parser("batch", help=what, description=f"{what[0].upper()}{what[1:]}.")
    batch.add_argument("script", metavar="SCRIPT", help="such as slurm/scaling.sbatch")
    batch.add_argument("arguments", nargs="*", metavar="ARG", help="of the script")
    for verb in (chain, batch):
        verb.add_argument("--site", default="generic", metavar="S", help="site file or its name")
        verb.add_argument("--gpu", default="", metavar="G", help="one of the site's")
        verb.add_argument(
            "--dry-run", action="store_true", help="only print what would be run; writes nothing"
        )
        add_shape(verb)
    what = "print a site's variables, as the job scripts read them"
    site = verbs.add_parser("site", help=what, description=f"{what[0].upper()}{what[1:]}.")
    site.add_argument("site", metavar="S", help="site file or its name")
    site.add_argument("--gpu", metavar="G", help="one of the site's (default: its first)")


def add_shape(verb: argparse.ArgumentParser) -> None:
    """Options for how much of a cluster a row gets."""
    verb.add_argument(
        "--gpus", type=int, default=1, metavar="N", help="Slurm: GPUs of each node (1)"
    )
    verb.add_argument("--nodes", type=int, default=1, metavar="N", help="Slurm: nodes of a row (1)")


def shape(arguments: argparse.Namespace):
    """The allocation asked for; raises InputError."""
    from cloudmask.errors import InputError
    from cloudmask.experiments.executors import Shape

    for name in ("gpus", "nodes"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name} {getattr(arguments, name)}: expected at least 1")
    return Shape(arguments.gpus, arguments.nodes)


def chain(arguments: argparse.Namespace, plan_of: Callable) -> None:
    """Print and submit the jobs; `plan_of(arguments, write)` is the experiment's plan."""
    from cloudmask.experiments.executors import chain as jobs
    from cloudmask.experiments.executors import submit

    planned = plan_of(arguments, write=False)
    rows = submit.choose(planned, ("planned",), arguments.index)
    if not rows:
        print(f"{planned.name}: every row was submitted; see cloudmask-grid status")
        return
    chained = list(
        jobs.jobs(
            planned,
            rows,
            arguments.site,
            arguments.gpu,
            shape(arguments),
            str(arguments.experiment),
        )
    )
    for job in chained:
        print(job.shown())
    if not arguments.dry_run:
        plan_of(arguments, write=True)
        jobs.submit(planned, chained, arguments.site, rows)


def batch(arguments: argparse.Namespace) -> None:
    """Submit a script with a site's options."""
    import subprocess

    from cloudmask.errors import Fault, InputError
    from cloudmask.experiments import sites
    from cloudmask.experiments.executors import shown

    if not Path(arguments.script).is_file():
        raise InputError(f"{arguments.script}: no such file; expected a job script of slurm/")
    wanted = shape(arguments)
    options = sites.load(arguments.site).sbatch(arguments.gpu or None, wanted.gpus, wanted.nodes)
    command = ["sbatch", *options, arguments.script, *arguments.arguments]
    print(shown(command), flush=True)
    if arguments.dry_run:
        return
    try:
        code = subprocess.run(command).returncode
    except FileNotFoundError:
        raise InputError("sbatch: no such command; expected to be on the cluster") from None
    if code:
        raise Fault(f"sbatch refused (exit code {code})")


def site(arguments: argparse.Namespace) -> None:
    """Print the variables of a site."""
    from cloudmask.experiments import sites

    found = sites.load(arguments.site)
    for name, value in found.environment(arguments.gpu or next(iter(found.gpus))).items():
        print(f"{name}={value}")
