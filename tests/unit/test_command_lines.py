"""What holds for all command lines: one list, one spelling, defaults shown in one way."""

import argparse
import importlib
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.documents import REPOSITORY

from cloudmask import __version__
from cloudmask.commands import umbrella
from cloudmask.commands.catalog import COMMANDS, GROUPS
from cloudmask.commands.command_parser import DEFAULT

BIN = Path(sys.executable).parent
# Options that say in each command what it writes, or shows, there.
OWN = ("--out", "--dtype", "--keys")
METAVARS = re.compile(
    r"DIR|PATH|URL|NAME|KEY=VALUE|KEY/|HxW|N|S|P|GB|CRS|TEXT|SITE|GPU|EXPERIMENT|SCRIPT|ARG|SHELL"
    r"|VERB|1-3,7|FILE(\.(h5|yaml|ext3|sif|csv|json|keras|log))?"
)


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    return importlib.import_module(f"cloudmask.commands.{COMMANDS[name].module}").parser()


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every parser with its name, those of verbs after their command's."""
    for name in COMMANDS:
        parser = parser_of(name)
        yield name, parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for verb, inner in action.choices.items():
                    yield f"{name} {verb}", inner


def actions() -> Iterator[tuple[str, argparse.ArgumentParser, argparse.Action]]:
    """Every argument and option with the name of its command and verb."""
    for name, parser in parsers():
        for action in parser._actions:
            if not isinstance(action, argparse._SubParsersAction):
                yield name, parser, action


def shown(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The help of an argument as it is shown, on one line."""
    formatter = parser._get_formatter()
    return " ".join(formatter._expand_help(action).split())


def test_every_command_has_an_entry_point_and_every_entry_point_is_listed():
    text = (REPOSITORY / "app" / "pyproject.toml").read_text(encoding="utf-8")
    section = text.split("[project.scripts]\n")[1].split("\n[")[0]
    found = dict(re.findall(r'^([\w-]+) = "([\w.:]+)"$', section, re.MULTILINE))
    assert found.pop("cloudmask") == "cloudmask.commands.umbrella:main"
    assert found == {c.program: f"cloudmask.commands.{c.module}:main" for c in COMMANDS.values()}


def test_the_help_lists_every_command_in_one_line_each():
    lines = umbrella.parser().format_help().splitlines()
    for title, group in GROUPS.items():
        at = lines.index(f"{title}:")
        assert lines[at + 1 : at + 1 + len(group)] == [f"  {c.name:10}  {c.summary}" for c in group]
    assert max(map(len, lines)) <= 100
    assert max(len(c.summary) for c in COMMANDS.values()) <= 66


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_is_the_description_and_the_version_is_shown(name, capsys):
    parser = parser_of(name)
    assert parser.description == COMMANDS[name].summary
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.split() == [parser.prog, __version__]


def called(*arguments: str) -> subprocess.CompletedProcess:
    """The umbrella command with these arguments."""
    return subprocess.run(
        [BIN / "cloudmask", *arguments], capture_output=True, text=True, timeout=60
    )


def test_the_umbrella_answers_at_once_and_without_heavy_imports():
    code = (
        "import sys; from cloudmask.commands import umbrella; sys.argv = ['cloudmask', '--help']\n"
        "try: umbrella.main()\n"
        "finally: print([m for m in ('numpy', 'pydantic', 'yaml', 'tensorflow') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("\n[]\n"), done.stderr
    best = 9.0
    for _ in range(3):
        before = os.times().children_user
        assert called("--help").returncode == 0
        best = min(best, os.times().children_user - before)
    assert best < 0.5  # about 0.1 s on an idle machine


def test_a_command_of_the_umbrella_is_the_command_alone(tmp_path):
    alone = subprocess.run(
        [BIN / "cloudmask-check-log", "missing.log"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    done = called("check-log", "missing.log")
    assert (done.returncode, done.stderr) == (alone.returncode, alone.stderr)
    assert called("check-log", "--help").stdout.startswith("usage: cloudmask-check-log ")


def test_the_recorded_command_is_the_command_alone(monkeypatch):
    from cloudmask.commands import check_log

    seen = []
    monkeypatch.setattr(check_log, "main", lambda: seen.extend(sys.argv) or 7)
    monkeypatch.setattr(sys, "argv", ["/x/bin/cloudmask", "check-log", "a", "--version"])
    assert umbrella.main() == 7
    assert seen == ["/x/bin/cloudmask-check-log", "a", "--version"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "error: trian: no such command; did you mean train? "),
        (["cloudmask-eval"], "error: cloudmask-eval: no such command; did you mean eval? "),
        (["xyzzy"], "error: xyzzy: no such command; cloudmask --help lists all"),
        (["--nothing"], "unrecognized arguments: --nothing"),
        ([], "usage: cloudmask COMMAND"),
    ],
)
def test_wrong_commands(arguments, expected):
    done = called(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr


def test_the_version():
    assert called("--version").stdout == f"cloudmask {__version__}\n"


def test_every_argument_is_described_in_one_form():
    for name, parser, action in actions():
        text = shown(parser, action)
        where = f"{name} {'/'.join(action.option_strings) or action.dest}: {text}"
        assert text, where
        assert not text.endswith("."), where
        if action.metavar:
            assert METAVARS.fullmatch(action.metavar), where
        elif action.nargs != 0:
            assert action.choices, f"{where}: expected a metavar or choices"


def test_every_default_is_shown_in_one_way():
    for name, parser, action in actions():
        text = shown(parser, action)
        where = f"{name} {action.dest}: {text}"
        if isinstance(action, (argparse._HelpAction, argparse._VersionAction)):
            continue
        # Once, at the end, and nowhere else in other words.
        assert text.count(DEFAULT) <= 1, where
        if "default" in text:
            assert re.search(r" \(default: [^()]+\)$", text), where
        if action.required or not action.option_strings or action.nargs == 0:
            continue
        told = DEFAULT in text
        assert told or action.default in (None, []), where
        if told and action.choices and action.default:
            assert text.endswith(f"{DEFAULT}{action.default})"), where


def test_options_of_one_name_mean_the_same_everywhere():
    """The first words, up to a comma or the like, are the same; so is what stands for the value."""
    meanings = defaultdict(set)
    for name, parser, action in actions():
        for option in action.option_strings:
            if option in OWN:
                continue
            words = re.split(r"[,;:(]", shown(parser, action))[0].strip()
            # --index takes one row or several.
            key = (option, action.metavar) if option == "--index" else (option, "")
            metavar = action.metavar or "" if not action.choices else "{}"
            at_once = "at once" if option == "--workers" else words
            assert at_once in words, f"{name}: {words}"
            meanings[key].add((at_once, metavar))
    different = {key: found for key, found in meanings.items() if len(found) > 1}
    assert different == {}


def test_one_meaning_has_one_name():
    names = defaultdict(set)
    for _, parser, action in actions():
        if action.option_strings:
            names[shown(parser, action)].add(action.option_strings[0])
    assert {text: found for text, found in names.items() if len(found) > 1} == {}


def test_flags_are_lower_case_with_hyphens():
    for name, _, action in actions():
        for option in action.option_strings:
            assert re.fullmatch(r"-h|--[a-z]+(-[a-z]+)*", option), f"{name} {option}"
