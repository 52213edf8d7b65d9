"""Names that come out of files of others are data: checked before a path is made of them.

A key of an S3 store, a path in a manifest, a member of an archive or the name of a row may hold
`..`, begin with a slash, or be empty; joined to a folder, each of these leads out of it.
"""

import unicodedata
from pathlib import PurePosixPath

from cloudmask.errors import InputError

# A file's name holds 255 bytes on Linux; the rest is for what temporary names add.
LONGEST_NAME = 200
LONGEST_PATH = 1000

# Control characters, halves of surrogate pairs, and separators of lines and paragraphs: they would
# break the lines of logs and tables.
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}


def file_name(text: object, what: str) -> str:
    """`text`, which can name a file in any folder; `what` tells in messages where it comes from.

    It is one component of a path, of at most 200 bytes, without control characters, and not hidden:
    names that begin with a dot are this program's own. Raises InputError.
    """
    if not isinstance(text, str) or (reason := _refusal(text)):
        reason = reason if isinstance(text, str) else "is not text"
        raise InputError(f"{what}: {_shown(text)} cannot name a file: it {reason}")
    return text


def relative_path(text: object, what: str) -> PurePosixPath:
    """The path `text`, each of whose components is a `file_name`: it stays below any folder.

    Raises InputError.
    """
    if not isinstance(text, str):
        raise InputError(f"{what}: {_shown(text)} cannot be a path: it is not text")
    if len(text) > LONGEST_PATH:
        raise InputError(
            f"{what}: {_shown(text)} cannot be a path: it is longer than {LONGEST_PATH}"
        )
    for name in text.split("/"):
        if reason := _refusal(name):
            part = _shown(name)
            raise InputError(f"{what}: {_shown(text)} cannot be a path: {part} {reason}")
    return PurePosixPath(text)


def _refusal(name: str) -> str:
    """Why `name` cannot name a file, "" if it can."""
    if not name:
        return "is empty"
    if name.startswith("."):
        return "is hidden, or leads to another folder"
    if "/" in name:
        return "is a path"
    if any(unicodedata.category(character) in _REFUSED for character in name):
        return "contains control characters"
    if len(name.encode()) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes"
    return ""


def _shown(text: object) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
