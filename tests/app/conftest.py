"""What the tests of commands share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def grid(tmp_path):
    """Run cloudmask-grid in tmp_path; returns the completed process."""

    def grid(*arguments, **environment):
        return subprocess.run(
            [Path(sys.executable).with_name("cloudmask-grid"), *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return grid
