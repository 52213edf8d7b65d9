"""Whether scenes can be judged, found out before a training of hours instead of after it."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cloudmask.errors import InputError, NotAScene, SceneError
from cloudmask.evaluate.evaluation import EvaluationOptions, read_for
from cloudmask.scenes.formats import format_of
from cloudmask.scenes.slstr import LABEL_SOURCES
from cloudmask.system import page_cache
from cloudmask.system.progress import track

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckedScenes:
    """usable: scenes that can be judged. left_out: a line for each that cannot, and why."""

    usable: tuple[Path, ...] = ()
    left_out: tuple[str, ...] = ()


def check_scenes(
    scenes: Sequence[Path], options: EvaluationOptions, headers_only: bool = False
) -> CheckedScenes:
    """Read each scene as its evaluation will, all headers first.

    headers_only: an earlier attempt has read the rest.

    Raises SceneError for the first that cannot be read, holds no measurement or no label of the
    source `options.labels`; with `options.skip_bad` they are left out, and told in the log.
    Raises InputError if none is left. Files that are no scenes are passed over.
    """
    if not scenes:
        return CheckedScenes()
    if options.labels not in LABEL_SOURCES:
        raise InputError(
            f"--scenes: the patch store does not tell the source of its labels "
            f"('{options.labels}'); expected one of {', '.join(LABEL_SOURCES)}; make it again with "
            "cloudmask-prepare"
        )
    left_out: list[str] = []
    # Headers take no time, so that most of what can be wrong shows at once.
    found = _passing(scenes, _check_header, options, left_out)
    if not headers_only:
        found = _passing(
            track(found, len(found), "check scenes"), _check_content, options, left_out
        )
    if not found:
        reason = f"; the first: {left_out[0]}" if left_out else ""
        raise InputError(f"--scenes: no scene can be judged{reason}")
    for line in left_out:
        logger.warning("left out: %s", line)
    return CheckedScenes(tuple(found), tuple(left_out))


def _passing(
    scenes: Iterable[Path],
    check: Callable[[Path, EvaluationOptions], None],
    options: EvaluationOptions,
    left_out: list[str],
) -> list[Path]:
    """The scenes that pass; a line for each that does not is added to `left_out`, or raised."""
    passed = []
    for path in scenes:
        try:
            check(path, options)
        except NotAScene as error:
            logger.info("passed over: %s", error)
            continue
        except SceneError as error:
            if not options.skip_bad:
                raise
            left_out.append(str(error))
            continue
        passed.append(path)
    return passed


def _check_header(path: Path, options: EvaluationOptions) -> None:
    format_of(path).reader.check(path, replace(options.reading, labels=options.labels))


def _check_content(path: Path, options: EvaluationOptions) -> None:
    scene = read_for(path, options, located=False)
    # The measured run reads it again, and is not to find it in memory.
    with contextlib.suppress(OSError):
        for file in [path] if path.is_file() else path.glob("*.nc"):
            page_cache.drop(file)
    if scene.mask is None:
        raise SceneError(scene.unlabeled)
    if not scene.valid.any():
        raise SceneError(f"{path}: no pixel holds both a measurement and a label")
