"""`provenance.json` as a type: what of it other parts use, checked once when read.

Every key may be absent, since older versions recorded less; a reader says what it cannot do
without.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from cloudmask.errors import InputError
from cloudmask.record.section import Section, explain
from cloudmask.system import reading

LARGEST_FILE = 64 * reading.MIB  # an attempt takes some 10 KB of it, packages most of all

# No machine counts further, and greater numbers are no floating-point numbers.
Count = Annotated[int, Field(ge=0, lt=2**63)]


class Git(Section):
    """The running source, as far as it is known."""

    commit: str | None = None
    dirty: bool | None = None
    repository: str | None = None
    branch: str | None = None
    tag: str | None = None


class Container(Section):
    """The container image."""

    name: str | None = None
    sha256: str | None = None
    base_digest: str | None = None


class Cpu(Section):
    """The processors of the node."""

    model: str | None = None
    sockets: Count | None = None
    cores: Count | None = None
    threads: Count | None = None
    usable_threads: Count | None = None
    max_hertz: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Card(Section):
    """A GPU."""

    name: str | None = None
    uuid: str | None = None
    memory_bytes: Count | None = None


class Cuda(Section):
    """What TensorFlow was built for."""

    version: str | None = None
    cudnn: str | None = None


class PatchData(Section):
    """The patch store of a training; prepared: the options of cloudmask-prepare that made it."""

    path: str | None = None
    checksum: str | None = None
    prepared: dict[str, str] | None = None


class EarlierAttempt(Section):
    """An interrupted attempt at the same run."""

    started: str | None = None  # UTC, ISO 8601


class Provenance(EarlierAttempt):
    """Software, source, machine, job and data of a run; `earlier`: its attempts before this."""

    earlier: tuple[EarlierAttempt, ...]
    command: tuple[str, ...] = ()
    versions: dict[str, str | None] = Field({})
    packages: dict[str, str] = Field({})
    git: Git = Git()
    container: Container | None = None
    user: str | None = None
    os: str | None = None
    kernel: str | None = None
    cpu: Cpu | None = None
    memory_bytes: Count | None = None
    gpus: tuple[Card, ...] = ()
    gpu_driver: str | None = None
    cuda: Cuda | None = None
    data: PatchData | None = None
    masks: dict[str, Any] | None = None  # how masks were made

    @property
    def begun(self) -> str | None:
        """When the first attempt began, UTC, ISO 8601."""
        return (self.earlier or (self,))[0].started


def read(path: Path, *required: str) -> Provenance:
    """The checked content of the file `path`, of an older version too.

    Raises InputError, which names the file and the key, if it is missing or damaged, or if one of
    the `required` keys is not in it.
    """
    try:
        found = Provenance.model_validate_json(reading.read_text(path, LARGEST_FILE))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the provenance of a run") from None
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    for key in required:
        if getattr(found, key) is None or key not in found.model_fields_set:
            raise InputError(f"{path}: no '{key}'; the file is damaged, or of another program")
    return found
