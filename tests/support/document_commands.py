"""Commands in documents: whether targets, commands, options and job scripts are there.

Every check returns what is wrong, in words.
"""

import argparse
import functools
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence

from cloudmask.system.distribution import DISTRIBUTION
from support.documents import (
    COMMAND,
    PLACEHOLDER,
    REPOSITORY,
    SUBSTITUTION,
    Block,
    Document,
    exists,
    first_word,
)


def wrong_commands(document: Document) -> list[str]:
    """Commands in blocks and between back-ticks that would not be understood."""
    wrong = []
    for block in document.blocks:
        if block.is_shell:
            for line in command_lines(block):
                wrong += wrong_command(line, whole=True)
    for text in document.code:
        if text in job_names() or text == DISTRIBUTION:
            continue
        if first_word(text) == "make" or COMMAND.fullmatch(first_word(text)):
            wrong += wrong_command(text, whole=False)
    return wrong


@functools.cache
def job_names() -> frozenset[str]:
    """Names of jobs, which look like commands."""
    scripts = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "slurm").rglob("*.s*h")]
    return frozenset(re.findall(r"--job-name=([\w-]+)", "\n".join(scripts)))


def command_lines(block: Block) -> list[str]:
    """The commands of a block: continued lines joined, a console's output left out."""
    lines = "\n".join(block.lines).replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line for line in lines if line.startswith("$ ")]
    return [line.removeprefix("$ ") for line in lines if line.strip()]


def wrong_command(line: str, whole: bool) -> list[str]:
    """What is wrong with a command line; `whole`: arguments that are required must be there."""
    wrong = []
    for inner in SUBSTITUTION.findall(line):
        wrong += wrong_command(inner, whole)
    lexer = shlex.shlex(SUBSTITUTION.sub("1", line), posix=True, punctuation_chars="|&;()")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;()"):
            wrong += [f"{' '.join(words)}: {text}" for text in _wrong_words(words, whole)]
            words = []
        else:
            words.append(word)
    return wrong


def _wrong_words(words: Sequence[str], whole: bool) -> list[str]:
    """What is wrong with one simple command, without the file that its output goes to."""
    wrong = []
    words = words[: words.index(">")] if ">" in words else words
    for number, word in enumerate(words):
        # Any command may stand behind `apptainer exec` and its like.
        if COMMAND.fullmatch(word) and (number == 0 or not words[number - 1].startswith("-")):
            return wrong + _wrong_call(word, words[number + 1 :], whole)
        if word == "make" and number == 0:
            return wrong_targets(words[1:])
        if re.fullmatch(r"(benchmarks|tests|docs|app|overlays|containers|slurm)/[\w./-]+", word):
            if not exists(word):
                return [f"no file {word}"]
            if word.endswith(".py") or word == "overlays/make-overlay":
                return _wrong_options(word, words[number + 1 :])
    return wrong


def _wrong_call(program: str, words: Sequence[str], whole: bool) -> list[str]:
    """What is wrong with a call of a command, by its own program or through `cloudmask`."""
    if program != "cloudmask":
        return wrong_arguments(program, words, whole)
    if not words or PLACEHOLDER.search(words[0]):
        return []
    if words[0] in ("--help", "--version"):
        return []
    return wrong_arguments(f"cloudmask-{words[0]}", words[1:], whole)


@functools.cache
def makefile() -> str:
    """Text of the Makefile."""
    return (REPOSITORY / "Makefile").read_text(encoding="utf-8")


def wrong_targets(words: Sequence[str]) -> list[str]:
    """Targets and variables of `make` that the Makefile does not know."""
    wrong = []
    for word in words:
        name, assignment, _ = word.partition("=")
        if assignment:
            # The environment's variables go through to programs, so that all in capitals counts.
            if not re.search(rf"\b{re.escape(name)}\b", makefile()):
                wrong.append(f"the Makefile has no variable {name}")
        elif re.fullmatch(r"[a-z][a-z-]*", word) and not re.search(
            rf"^{re.escape(word)}:", makefile(), re.MULTILINE
        ):
            wrong.append(f"the Makefile has no target {word}")
    return wrong


@functools.cache
def parser_of(command: str) -> argparse.ArgumentParser | None:
    """The parser of an entry point; None if there is no such command."""
    project = (REPOSITORY / "app" / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf'^{re.escape(command)} = "([\w.]+):main"', project, re.MULTILINE)
    return importlib.import_module(found.group(1)).parser() if found else None


def wrong_arguments(command: str, words: Sequence[str], whole: bool) -> list[str]:
    """What a command's parser says to its arguments."""
    parser = parser_of(command)
    if parser is None:
        return ["no such command"]
    wrong, inner, verbs = [], parser, _verbs(parser)
    if verbs and words and not words[0].startswith("-"):
        for verb in words[0].split("|"):
            if verb not in verbs and not PLACEHOLDER.search(verb):
                return [f"no verb {verb}; known: {', '.join(verbs)}"]
            inner = verbs.get(verb, parser)
    for word in words:
        option = word.split("=")[0]
        if re.fullmatch(r"--[a-z][a-z-]*", option) and option not in inner._option_string_actions:
            wrong.append(f"no option {option}")
    if not whole or wrong or any("…" in word for word in words) or "--help" in words:
        return wrong
    try:
        _parse(parser, words)
    except argparse.ArgumentError as error:
        wrong.append(str(error))
    return wrong


def _verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Parse, with every error as an ArgumentError."""

    def refuse(message: str):
        raise argparse.ArgumentError(None, message)

    for known in (parser, *_verbs(parser).values()):
        known.error = refuse  # type: ignore[method-assign]
    parser.parse_args(list(words))


def _wrong_options(script: str, words: Sequence[str]) -> list[str]:
    """Options that the help of a script does not name."""
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    return [f"no option {option}" for option in options if option not in help_of(script)]


@functools.cache
def help_of(script: str) -> str:
    """What a script of the repository prints for --help."""
    done = subprocess.run(
        [sys.executable, script, "--help"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{script} --help: {done.stderr}"
    return done.stdout
