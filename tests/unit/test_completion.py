"""Completion of commands and options, in the shells themselves."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest

from cloudmask.commands import completion
from cloudmask.commands.catalog import COMMANDS
from cloudmask.errors import InputError

pytest.importorskip("shtab", reason="no shtab: pip install it")


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A folder with the script of each shell, `completion.SHELL`."""
    folder = tmp_path_factory.mktemp("scripts")
    for shell in completion.SHELLS:
        (folder / f"completion.{shell}").write_text(completion.script(shell), encoding="utf-8")
    return folder


class Terminal:
    """A program in a pseudo-terminal, without any of the project's programs on its PATH."""

    def __init__(self, *command: str, folder):
        environment = {"PATH": "/nonexistent", "HOME": str(folder), "TERM": "dumb", "PS1": "> "}
        self.child, self.descriptor = pty.fork()
        if self.child == 0:
            os.chdir(folder)
            os.execve(command[0], command, environment)

    def type(self, keys: str, expected: str) -> str:
        """Type the keys; what is shown until `expected` is, or 20 s have passed."""
        os.write(self.descriptor, keys.encode())
        shown = b""
        end = time.monotonic() + 20
        while expected.encode() not in shown and time.monotonic() < end:
            if select.select([self.descriptor], [], [], 0.1)[0]:
                shown += os.read(self.descriptor, 4096)
        return shown.decode(errors="replace")

    def close(self) -> None:
        """End the program."""
        os.kill(self.child, 9)
        os.waitpid(self.child, 0)
        os.close(self.descriptor)


@pytest.fixture
def bash(scripts, tmp_path):
    """An interactive bash that has read the script."""
    (tmp_path / "patches.h5").touch()
    (tmp_path / "runs").mkdir()
    program = shutil.which("bash")
    terminal = Terminal(program, "--norc", "--noprofile", "-i", folder=tmp_path)
    terminal.type(f"source {scripts}/completion.bash; echo re''ady\n", "ready\r\n")
    yield terminal
    terminal.close()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("cloudmask trai\t", "cloudmask train "),
        ("cloudmask check\t", "cloudmask check-log "),
        ("cloudmask train --dat\t", "cloudmask train --data "),
        ("cloudmask train --data pat\t", "cloudmask train --data patches.h5 "),
        ("cloudmask train --run ru\t", "cloudmask train --run runs/"),
        ("cloudmask grid sub\t", "cloudmask grid submit "),
        ("cloudmask grid submit --dry\t", "cloudmask grid submit --dry-run "),
        ("cloudmask prepare --dtype float1\t", "cloudmask prepare --dtype float16 "),
        ("cloudmask-eval --bas\t", "cloudmask-eval --baselines "),
        ("cloudmask-grid wat\t", "cloudmask-grid watch "),
    ],
)
def test_bash_completes(bash, keys, expected):
    assert expected in bash.type(keys, expected)


def test_bash_lists_all_commands(bash):
    # The prompt follows the list.
    assert set(COMMANDS) <= set(bash.type("cloudmask \t\t", "\r\n> cloudmask ").split())


def test_fish_completes(scripts, tmp_path):
    fish = shutil.which("fish")
    if not fish:
        pytest.skip("no fish on this machine")
    lines = "; ".join(
        f"complete -C '{text}'"
        for text in ("cloudmask trai", "cloudmask train --dat", "cloudmask-grid watc")
    )
    done = subprocess.run(
        [fish, "--no-config", "-c", f"source {scripts}/completion.fish; {lines}"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        "train",
        "--data",
        "watch",
    ]


def test_zsh_completes(scripts, tmp_path):
    zsh = shutil.which("zsh")
    if not zsh:
        pytest.skip("no zsh on this machine")
    terminal = Terminal(zsh, "-f", "-i", folder=tmp_path)
    terminal.type(
        f'autoload -U compinit; compinit -u; eval "$(<{scripts}/completion.zsh)"; echo re""ady\n',
        "ready\r\n",
    )
    assert "cloudmask train " in terminal.type("cloudmask trai\t", "train ")
    assert "--data " in terminal.type("--dat\t", "--data ")
    terminal.close()


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_command_is_in_the_script(scripts, shell):
    text = (scripts / f"completion.{shell}").read_text(encoding="utf-8")
    for command in COMMANDS.values():
        assert command.program in text
        assert command.name in text


def test_without_the_library_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    expected = (
        r"shtab is not installed; install it with: pip install 'cloudmask-slstr\[completion\]'"
    )
    with pytest.raises(InputError, match=expected):
        completion.script("bash")
