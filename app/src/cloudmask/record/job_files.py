"""What started a run, kept in its `job/`: the batch script and its parts, files of the image.

Job scripts name themselves in CLOUDMASK_JOB_SCRIPT, by a path in the working directory, which the
container sees. An image keeps its definition, as Apptainer writes it into each, and the lock file
of the packages that were installed in it.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from cloudmask.record.run_directory import RunDirectory
from cloudmask.system import files, reading

SCRIPT, SITE = "CLOUDMASK_JOB_SCRIPT", "CLOUDMASK_SITE"
# In an image (containers/cloudmask.def), and the names that the copies get.
IMAGE = {
    Path("/.singularity.d/Singularity"): "cloudmask.def",
    Path("/opt/cloudmask/share/requirements.txt"): "requirements.txt",
}
LARGEST_FILE = reading.MIB

logger = logging.getLogger(__name__)


def keep(run: RunDirectory) -> None:
    """Copy what there is; a later attempt replaces it. What cannot be read is reported only."""
    for source, name in (*IMAGE.items(), *_scripts()):
        try:
            text = reading.read_text(source, LARGEST_FILE)
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            logger.warning("%s: not kept with the run: %s", source, error)
            continue
        copy = run.job / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(copy, text)


def _scripts() -> Iterator[tuple[Path, str]]:
    """The batch script, what it sources, and its site file, each with the name of its copy."""
    given = os.environ.get(SCRIPT)
    if not given:
        return
    script = Path(given)
    yield script, script.name
    for part in sorted(script.parent.glob("lib/*.sh")):
        yield part, f"lib/{part.name}"
    if site := os.environ.get(SITE):
        file = script.parent / "sites" / f"{Path(site).stem}.yaml"
        yield file, f"sites/{file.name}"
