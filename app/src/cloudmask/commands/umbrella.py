"""cloudmask: one name for all commands."""

import argparse
import difflib
import importlib
import sys
from pathlib import Path

import cloudmask
from cloudmask.commands import interruptible, run
from cloudmask.commands.catalog import COMMANDS, GROUPS
from cloudmask.commands.command_parser import CommandParser, add_version
from cloudmask.errors import EXIT_INPUT, InputError

EPILOG = """\
`cloudmask COMMAND --help` describes a command, with examples. `cloudmask COMMAND` and
`cloudmask-COMMAND` are the same.

exit codes: 0 done; 1 fault; 2 wrong usage, configuration or input, with one line that names it;
75 interrupted, the same command continues; 130 after Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """The command line, without the arguments of the commands."""
    width = max(map(len, COMMANDS))
    listing = "\n".join(
        f"{title}:\n" + "".join(f"  {c.name:{width}}  {c.summary}\n" for c in group)
        for title, group in GROUPS.items()
    )
    parser = CommandParser(
        prog="cloudmask",
        usage="cloudmask COMMAND [ARGUMENT ...]",
        description=(cloudmask.__doc__ or "").split("\n")[0],
        epilog=f"{listing}\n{EPILOG}",
    )
    add_version(parser)
    return parser


def main() -> int:
    """Entry point: run the command that the first argument names."""
    command = COMMANDS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if command is None:
        return run(_answer)
    # As the command's own program would have been called; records of runs show it.
    program = Path(sys.argv[0]).with_name(command.program)
    sys.argv = [str(program), *sys.argv[2:]]
    module = f"cloudmask.commands.{command.module}"
    # The module is loaded before it can answer a signal by itself.
    return interruptible(lambda: importlib.import_module(module).main())


def _answer() -> None:
    """Help, the version, or an error: there is no command."""
    if not sys.argv[1:]:
        parser().print_help(sys.stderr)
        sys.exit(EXIT_INPUT)
    name = sys.argv[1]
    if name.startswith("-"):
        parser().parse_args(sys.argv[1:2])
    # Somebody may give the name of the command's own program.
    near = difflib.get_close_matches(name.removeprefix("cloudmask-"), COMMANDS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(f"{name}: no such command; {hint}cloudmask --help lists all")
