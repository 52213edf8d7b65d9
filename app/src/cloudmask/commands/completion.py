"""cloudmask-completion: scripts that complete commands and options in a shell."""

import argparse
import importlib

from cloudmask.commands import run
from cloudmask.commands.catalog import COMMANDS, Command
from cloudmask.commands.command_parser import CommandParser, add_version, command_parser

SHELLS = ("bash", "zsh", "fish")
# How what stands for a folder or a file in the usage begins.
FOLDERS = ("DIR",)
FILES = ("FILE", "PATH", "EXPERIMENT", "SCRIPT", "SITE")

EPILOG = """\
examples:
  cloudmask completion bash > ~/.cloudmask-completion.bash
  cloudmask completion zsh > ~/.cloudmask-completion.zsh
  cloudmask completion fish > ~/.config/fish/completions/cloudmask.fish

Then add to ~/.bashrc: source ~/.cloudmask-completion.bash
or to ~/.zshrc, after compinit: eval "$(<~/.cloudmask-completion.zsh)"

The script completes `cloudmask` and each `cloudmask-COMMAND` without starting Python. Print it
again after an update.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("completion", EPILOG)
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: print(script(parser().parse_args().shell)))


def script(shell: str) -> str:
    """The script for a shell of `SHELLS`; raises InputError if the library is not installed."""
    from cloudmask.errors import InputError
    from cloudmask.system.distribution import install_command

    try:
        import shtab
    except ImportError:
        raise InputError(
            f"shtab is not installed; install it with: {install_command('completion')}"
        ) from None
    parsers = {command.program: _parser_of(command) for command in COMMANDS.values()}
    for known in parsers.values():
        _complete_files(known, shtab.FILE, shtab.DIRECTORY)
    whole = [_umbrella(parsers), *parsers.values()]
    return "\n".join(shtab.complete(known, shell) for known in whole)


def _parser_of(command: Command) -> CommandParser:
    found = importlib.import_module(f"cloudmask.commands.{command.module}").parser()
    found.prog = command.program
    return found


def _umbrella(parsers: dict[str, CommandParser]) -> CommandParser:
    """The parser of `cloudmask` with the arguments of every command."""
    umbrella = CommandParser(prog="cloudmask")
    add_version(umbrella)
    verbs = umbrella.add_subparsers(metavar="COMMAND")
    for command in COMMANDS.values():
        own = parsers[command.program]
        verbs.add_parser(
            command.name,
            parents=[own],
            add_help=False,
            help=command.summary,
            description=command.summary,
        )
    return umbrella


def _complete_files(known: argparse.ArgumentParser, files: object, folders: object) -> None:
    """Tell shtab which arguments are names of files or folders."""
    for action in known._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _complete_files(verb, files, folders)
        elif isinstance(action.metavar, str) and action.metavar.startswith((*FILES, *FOLDERS)):
            folder = action.metavar.startswith(FOLDERS)
            action.complete = folders if folder else files  # type: ignore[attr-defined]
