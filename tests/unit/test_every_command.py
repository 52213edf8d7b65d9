"""What holds for every command."""

import os
import subprocess
import sys

import pytest

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
