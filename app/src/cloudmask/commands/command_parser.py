"""The parser of every command line: one layout, defaults shown in one way, `--version`."""

import argparse
from typing import Any

from cloudmask import __version__
from cloudmask.commands.catalog import COMMANDS

# How a help text begins the default, in the same way whether it is written by hand (where it
# depends on something) or appended.
DEFAULT = "(default: "


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples, and appends to an option's help what its default is."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        given = action.default
        # 0 is a default worth a word, False and an empty list are not.
        empty = given is None or given is False or given in ("", []) or given == argparse.SUPPRESS
        return text if empty or DEFAULT in text else f"{text} {DEFAULT}%(default)s)"


class CommandParser(argparse.ArgumentParser):
    """An argument parser with the layout of all commands; those of verbs are alike."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("formatter_class", HelpFormatter)
        super().__init__(*args, **options)


def command_parser(name: str, epilog: str, **options: Any) -> CommandParser:
    """The parser of the command of that name; `epilog` begins with examples."""
    command = COMMANDS[name]
    settings = {"prog": command.program, "description": command.summary} | options
    parser = CommandParser(epilog=epilog, **settings)
    add_version(parser)
    return parser


def add_version(parser: argparse.ArgumentParser) -> None:
    """Add the option that shows the version."""
    parser.add_argument(
        "--version",
        action="version",
        version=f"%(prog)s {__version__}",
        help="show the version and exit",
    )
