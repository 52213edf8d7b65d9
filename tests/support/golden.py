"""Generated text, compared word for word with the files of tests/golden."""

import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def check(name: str, text: str) -> None:
    """Fail with a unified difference unless `text` is that of the file tests/golden/`name`.

    With GOLDEN=update in the environment the file is written instead.
    """
    path = GOLDEN / name
    text = text.rstrip("\n") + "\n"
    if os.environ.get("GOLDEN") == "update":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    if text == kept:
        return
    raise AssertionError(
        f"tests/golden/{name}: the generated text differs (-: the file, +: now)\n"
        + "\n".join(difference(kept.splitlines(), text.splitlines()))
        + "\nIf the change is meant: GOLDEN=update pytest, and commit the file."
    )


def difference(kept: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    """Lines of a unified difference."""
    # difflib.unified_diff takes lines that are frequent for noise, and here most are.
    matcher = difflib.SequenceMatcher(None, kept, found, autojunk=False)
    for group in matcher.get_grouped_opcodes(3):
        yield f"@@ line {group[0][1] + 1} @@"
        for what, first, last, start, stop in group:
            if what == "equal":
                yield from (f" {line}" for line in kept[first:last])
            else:
                yield from (f"-{line}" for line in kept[first:last])
                yield from (f"+{line}" for line in found[start:stop])
