"""What holds for every command."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support.documents import PACKAGE

PROGRAM = """
import sys
from cloudmask.commands import run

def command():
    import keras
    print(keras.config.floatx() if hasattr(keras, "config") else keras.backend.floatx())

sys.exit(run(command))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_settings_of_keras_that_anybody_may_have_put_there_are_not_read(tmp_path, kind):
    """Keras looks in the home directory, or else in /tmp."""
    (tmp_path / ".keras").mkdir()
    if kind == "file":
        (tmp_path / ".keras" / "keras.json").write_text('{"floatx": "float16"}')
    else:
        os.mkfifo(tmp_path / ".keras" / "keras.json")
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "float32\n"), done.stderr


@pytest.fixture(scope="module")
def packages_without_tensorflow(tmp_path_factory):
    """A folder with all installed packages but TensorFlow and Keras, and cloudmask itself."""
    folder = tmp_path_factory.mktemp("packages")
    for path in map(Path, {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        for package in path.iterdir():
            # What a .pth file points to is not among them either.
            if not package.name.lower().startswith(("tensorflow", "keras", "__editable__")):
                link = folder / package.name
                if not link.exists():
                    link.symlink_to(package)
    if not (folder / "cloudmask").exists():
        (folder / "cloudmask").symlink_to(PACKAGE)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--data", "patches.h5", "--run", "run"],
        ["eval", "--example", "--out", "out"],
        ["predict", "--example", "--out", "out"],
        ["grid", "run", "paper", "--index", "1", "--data", "patches.h5"],
        ["preflight", "--cpu"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_without_tensorflow_one_line_says_how_to_install_it(
    packages_without_tensorflow, tmp_path, arguments
):
    code = "import sys; from cloudmask.commands.umbrella import main; sys.exit(main())"
    done = subprocess.run(
        # Without the folders of this Python's own packages.
        [sys.executable, "-S", "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(packages_without_tensorflow)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    expected = (
        "error: TensorFlow is not installed; install it with: pip install 'cloudmask-slstr[cpu]'"
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(expected)
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["ascii", "latin1"])
def test_any_encoding_of_the_terminal(encoding, tmp_path):
    """Help and names show; what the encoding does not have is escaped."""
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    missing = tmp_path / "łódź.keras"
    code = "import sys; from cloudmask.commands import evaluate; sys.exit(evaluate.main())"
    arguments = ["--model", str(missing), "--scenes", str(missing)]
    for given, expected in ((["--help"], 0), (arguments, 2)):
        done = subprocess.run(
            [sys.executable, "-c", code, *given],
            env=environment,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == expected, done.stderr
        assert b"Traceback" not in done.stderr
    assert rb"\u0142" in done.stderr


EVERY_TEXT = r"""
import sys
from cloudmask.commands import umbrella
from cloudmask.commands.catalog import COMMANDS

calls = [[name, "--help"] for name in COMMANDS]
calls += [["--help"], ["config"], ["config", "--keys", "slurm"], ["completion", "zsh"], ["\u0142"]]
for call in calls:
    sys.argv = ["cloudmask", *call]
    try:
        code = umbrella.main()
    except SystemExit as ended:
        code = ended.code or 0
    print("code", code)
"""


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["ascii", "C"],
)
def test_all_that_is_shown_can_be_shown_without_utf_8(environment):
    done = subprocess.run(
        [sys.executable, "-c", EVERY_TEXT],
        env=os.environ | environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    codes = [line for line in done.stdout.decode().splitlines() if line.startswith("code")]
    assert set(codes[:-1]) == {"code 0"}
    assert codes[-1] == "code 2"
    assert b"Traceback" not in done.stderr
    assert done.stderr.isascii()
