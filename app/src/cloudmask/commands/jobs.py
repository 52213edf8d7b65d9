"""Verbs of cloudmask-grid that are about jobs of Slurm: chain, batch, site; and shared options."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmask.commands.options import add_dry_run

if TYPE_CHECKING:
    from cloudmask.experiments.executors.executor import Allocation, SubmitRequest

CHAIN = "on Slurm: prepare the overlay if there is none, train, evaluate"


def add(verbs, chain: argparse.ArgumentParser) -> None:
    """Add the verbs; `chain` has the arguments of an experiment already."""
    chain.add_argument("--index", metavar="1-3,7", help="only these rows (default: all)")
    what = "submit another job script of slurm/ with a site's options"
    batch = verbs.add_parser("batch", help=what, description=f"{what[0].upper()}{what[1:]}.")
    batch.add_argument("script", metavar="SCRIPT", help="job script, such as slurm/scaling.sbatch")
    batch.add_argument("arguments", nargs="*", metavar="ARG", help="arguments of the script")
    for verb in (chain, batch):
        verb.add_argument("--site", default="generic", metavar="SITE", help="site file or its name")
        verb.add_argument(
            "--gpu", default="", metavar="GPU", help="GPU of the site (default: its only one)"
        )
        add_dry_run(verb)
        add_shape(verb)
    what = "print a site's variables, as the job scripts read them"
    site = verbs.add_parser("site", help=what, description=f"{what[0].upper()}{what[1:]}.")
    site.add_argument("site", metavar="SITE", help="site file or its name")
    site.add_argument("--gpu", metavar="GPU", help="GPU of the site (default: its first)")


def add_shape(verb: argparse.ArgumentParser) -> None:
    """Options for how much of a cluster a row gets."""
    verb.add_argument("--gpus", type=int, default=1, metavar="N", help="Slurm: GPUs of each node")
    verb.add_argument("--nodes", type=int, default=1, metavar="N", help="Slurm: nodes of a row")


def request(arguments: argparse.Namespace) -> "SubmitRequest":
    """What the arguments ask of executors; raises InputError."""
    from cloudmask.experiments.executors.executor import RowInputs, SubmitRequest

    inputs = RowInputs(
        getattr(arguments, "data", None), tuple(getattr(arguments, "scenes", None) or ())
    )
    return SubmitRequest(
        str(arguments.experiment),
        inputs,
        arguments.gpu,
        getattr(arguments, "jobs", None),
        allocation(arguments),
    )


def allocation(arguments: argparse.Namespace) -> "Allocation":
    """The GPUs and nodes for a row; raises InputError."""
    from cloudmask.errors import InputError
    from cloudmask.experiments.executors.executor import Allocation

    for name in ("gpus", "nodes"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name} {getattr(arguments, name)}: expected at least 1")
    return Allocation(arguments.gpus, arguments.nodes)


def chain(arguments: argparse.Namespace, plan_of: Callable) -> None:
    """Print and submit the jobs; `plan_of(arguments, write)` is the experiment's plan."""
    from cloudmask.experiments import chain, submit

    planned = plan_of(arguments, write=False)
    rows = submit.choose(planned, ("planned",), arguments.index)
    if not rows:
        print(f"{planned.name}: every row was submitted; see cloudmask-grid status")
        return
    chained = list(chain.jobs(planned, rows, arguments.site, request(arguments)))
    for job in chained:
        print(job.shell_line())
    if not arguments.dry_run:
        plan_of(arguments, write=True)
        chain.submit(planned, chained, arguments.site, rows)


def batch(arguments: argparse.Namespace) -> None:
    """Submit a script with a site's options."""
    from cloudmask.errors import InputError
    from cloudmask.experiments.executors import batch, slurm
    from cloudmask.experiments.executors.executor import command_line

    if not Path(arguments.script).is_file():
        raise InputError(f"{arguments.script}: no such file; expected a job script of slurm/")
    site = slurm.load_site(arguments.site)
    options = site.options_for(arguments.gpu or None, allocation(arguments))
    command = slurm.sbatch(options, [arguments.script, *arguments.arguments])
    print(command_line(command), flush=True)
    if not arguments.dry_run:
        print(batch.submit(command))


def site(arguments: argparse.Namespace) -> None:
    """Print the variables of a site."""
    from cloudmask.experiments.executors import slurm

    found = slurm.load_site(arguments.site)
    for name, value in found.environment(arguments.gpu or next(iter(found.gpus))).items():
        print(f"{name}={value}")
