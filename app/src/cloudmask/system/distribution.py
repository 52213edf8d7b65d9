"""What the package is called where it is installed from, and how its optional parts are added."""

# The name `cloudmask` on the Python Package Index belongs to another project, a tool for Landsat.
DISTRIBUTION = "cloudmask-slstr"


def install_command(extra: str) -> str:
    """The command that installs an extra of app/pyproject.toml, as messages give it.

    It needs no index that holds this package: pip takes the extras of the one that is installed.
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"
