"""What the package is called where it is installed from, and how its optional parts are added."""

import importlib.util

# The name `cloudmask` on the Python Package Index belongs to another project, a tool for Landsat.
DISTRIBUTION = "cloudmask-slstr"


def install_command(extra: str) -> str:
    """The command that installs an extra of app/pyproject.toml, as messages give it.

    It needs no index that holds this package: pip takes the extras of the one that is installed.
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def missing_tensorflow() -> str:
    """What is to be done before TensorFlow can be used, in one line; "" if it is installed.

    Nothing is imported, so that the answer comes at once.
    """
    if all(importlib.util.find_spec(name) for name in ("tensorflow", "keras")):
        return ""
    return (
        f"TensorFlow is not installed; install it with: {install_command('cpu')}, or run this in "
        "the container image"
    )
