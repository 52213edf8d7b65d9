"""What started a run, kept in its `job/`: the batch script and its parts, files of the image.

Job scripts name themselves in CLOUDMASK_JOB_SCRIPT, by a path in the working directory, which the
container sees. Executors name the site in CLOUDMASK_SITE, by its file or the name of one. An image
keeps its definition, as Apptainer writes it into each, and the lock file of the packages that were
installed in it.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system import files, reading

SCRIPT, SITE = "CLOUDMASK_JOB_SCRIPT", "CLOUDMASK_SITE"
# In an image (containers/cloudmask.def), and the names that the copies get.
IMAGE = {
    Path("/.singularity.d/Singularity"): "cloudmask.def",
    Path("/opt/cloudmask/share/requirements.txt"): "requirements.txt",
}
SITE_FOLDER = Path("slurm/sites")  # of the checkout, in which jobs and submissions work
SITES = "sites"  # in `job/`
MOST_SITES = 100  # files of one name that a run keeps
LARGEST_FILE = reading.MIB

logger = logging.getLogger(__name__)


def keep(run: RunDirectory) -> None:
    """Copy what there is; a later attempt replaces it. What cannot be read is reported only."""
    for source, name in (*IMAGE.items(), *_scripts()):
        if (text := _text(source)) is not None:
            _write(run.job / name, text)
    if site := os.environ.get(SITE):
        keep_site(run, next(filter(Path.is_file, site_paths(site)), None))


def keep_site(run: RunDirectory, file: Path | None) -> None:
    """Copy a site's file, if there is one, beside those of other sites that have its name."""
    text = _text(file) if file else None
    if file is None or text is None:
        return
    for number in range(1, MOST_SITES + 1):
        suffix = f"-{number}" if number > 1 else ""
        copy = run.job / SITES / f"{file.stem}{suffix}.yaml"
        if not copy.exists():
            _write(copy, text)
        if _text(copy) == text:
            return


def site_paths(name_or_path: str | Path) -> tuple[Path, Path]:
    """Where the file of a site may be: at that path, or by that name among those of the jobs."""
    return Path(name_or_path), SITE_FOLDER / f"{name_or_path}.yaml"


def _scripts() -> Iterator[tuple[Path, str]]:
    """The batch script and what it sources, each with the name of its copy."""
    given = os.environ.get(SCRIPT)
    if not given:
        return
    script = Path(given)
    yield script, script.name
    for part in sorted(script.parent.glob("lib/*.sh")):
        yield part, f"lib/{part.name}"


def _text(source: Path) -> str | None:
    """The content of a file, None if there is none or, which is reported, it cannot be read."""
    try:
        return reading.read_text(source, LARGEST_FILE)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, InputError) as error:
        logger.warning("%s: not kept with the run: %s", source, error)
        return None


def _write(copy: Path, text: str) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(copy, text)
