"""What a document promises: links, files, commands, settings; and whether each promise is kept.

Every check returns what is wrong, in words. Markdown is read as far as the documents use it.
"""

import functools
import re
import subprocess
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import AliasChoices

from cloudmask.config.settings import Config, load_config
from cloudmask.errors import InputError
from cloudmask.experiments import sites
from cloudmask.experiments.executors import EXECUTORS
from cloudmask.experiments.experiment import load_experiment, settings
from cloudmask.record.result import Result

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "app" / "src" / "cloudmask"
SHELL_LANGUAGES = ("sh", "bash", "console", "shell")
# First words by which a block without a language is known for commands.
STARTS = ("make", "sbatch", "bash", "apptainer", "python", "git", ".", "overlays/make-overlay")
COMMAND = re.compile(r"cloudmask(-[a-z-]+)?")
SETTING = re.compile(r"([a-z_]+(?:\.[a-z_0-9]+)+)(?:[=:].*)?")
PLACEHOLDER = re.compile(r"[A-Z]{3,}|…|<[^>]*>")
SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")


@dataclass(frozen=True)
class Block:
    """A block of code: its language ("" without) and lines, without their common indentation."""

    language: str
    lines: tuple[str, ...]

    @property
    def is_shell(self) -> bool:
        """Whether it holds commands."""
        if self.language:
            return self.language in SHELL_LANGUAGES
        return any(first_word(line).startswith((*STARTS, "cloudmask")) for line in self.lines)

    @property
    def is_yaml(self) -> bool:
        """Whether it holds YAML."""
        return self.language == "yaml" or (
            not self.language and bool(re.match(r"[a-z_]+:( |$)", self.lines[0]))
        )


@dataclass(frozen=True)
class Document:
    """A Markdown text, `path` relative to the repository's root."""

    path: Path
    text: str

    @property
    def blocks(self) -> list[Block]:
        """Blocks of code, fenced or indented by four spaces."""
        return list(_blocks(self.text.splitlines()))

    @property
    def prose(self) -> str:
        """The text without its blocks of code."""
        text = re.sub(r"^```.*?^```", "", self.text, flags=re.MULTILINE | re.DOTALL)
        return re.sub(r"^ {4,}.*$", "", text, flags=re.MULTILINE)

    @property
    def code(self) -> list[str]:
        """What stands between back-ticks."""
        return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", self.prose)]

    @property
    def links(self) -> list[str]:
        """Targets of links."""
        return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "``", self.prose))

    @property
    def anchors(self) -> set[str]:
        """Anchors of the headings, as GitHub makes them."""
        counts: Counter[str] = Counter()
        found = set()
        for heading in re.findall(r"^#+ +(.+?) *$", self.prose, flags=re.MULTILINE):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
            anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(f"{anchor}-{counts[anchor]}" if counts[anchor] else anchor)
            counts[anchor] += 1
        return found


def read(path: Path) -> Document:
    """The document `path`, relative to the root; of another file, what its comments say."""
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    if path.suffix != ".md":
        comments = [line[2:] for line in text.splitlines() if line.startswith("# ")]
        text = "\n".join(re.sub(r"^ {2,3}(?=\S)", "    ", line) for line in comments)
    return Document(path, text)


@functools.cache
def tracked() -> frozenset[str]:
    """Files of the repository, those not yet committed included, relative to its root."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return frozenset(listing.stdout.splitlines())


@functools.cache
def folders() -> frozenset[str]:
    """Folders of the repository."""
    return frozenset(str(parent) for name in tracked() for parent in Path(name).parents)


def first_word(line: str) -> str:
    """The first word of a line, of a console's line after the prompt."""
    words = line.removeprefix("$ ").split()
    return words[0] if words else ""


def wrong_links(document: Document) -> list[str]:
    """Relative links to what does not exist."""
    wrong = []
    for link in document.links:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.path
        if name:
            resolved = (REPOSITORY / document.path.parent / name).resolve()
            if not resolved.is_relative_to(REPOSITORY) or not exists(
                str(resolved.relative_to(REPOSITORY))
            ):
                wrong.append(f"link {link}: no such file")
                continue
            target = resolved.relative_to(REPOSITORY)
        anchors = document.anchors if not name else read(target).anchors if anchor else set()
        if anchor and anchor not in anchors:
            wrong.append(f"link {link}: no such heading")
    return wrong


def exists(name: str) -> bool:
    """Whether the repository holds the file or folder."""
    name = name.rstrip("/")
    return name in tracked() or name in folders()


def wrong_paths(document: Document) -> list[str]:
    """Paths between back-ticks that look like the repository's and are not there."""
    heads = {name.split("/")[0] for name in tracked() if "/" in name}
    rooms = {path.name for path in PACKAGE.iterdir()}
    wrong = []
    for text in document.code:
        if not re.fullmatch(r"[\w./*{},…<>-]+", text) or "/" not in text:
            continue
        head = text.split("/")[0]
        bases = [document.path.parent, Path()]
        if head in rooms:
            bases.append(PACKAGE.relative_to(REPOSITORY))
        known = head in heads or (head in rooms and text.endswith((".py", ".yaml", "/")))
        if known and not any(_matches(base, text) for base in bases):
            wrong.append(f"`{text}`: no such file")
    return wrong


def _matches(base: Path, text: str) -> bool:
    """Whether `text`, which may hold `*` or a word in capitals for a name, is there."""
    found = PLACEHOLDER.search(text)
    if found:  # What follows is made by a command.
        text = text[: found.start()].rpartition("/")[0]
    name = (base / text).as_posix()
    if "*" in name:
        pattern = re.compile(re.escape(name).replace(r"\*", "[^/]*"))
        return any(pattern.fullmatch(known) for known in tracked())
    return exists(name)


def wrong_modules(document: Document) -> list[str]:
    """Names such as `cloudmask.scenes.read_scene` that cannot be imported."""
    wrong = []
    for text in document.code:
        found = re.match(r"cloudmask(\.\w+)+", text)
        if not found or "/" in text or text.endswith((".def", ".sif")):
            continue
        path, names = PACKAGE, found.group().split(".")[1:]
        while names and (path / names[0]).is_dir():
            path /= names.pop(0)
        if names and (path / f"{names[0]}.py").is_file():
            source = (path / f"{names.pop(0)}.py").read_text(encoding="utf-8")
        else:
            source = (path / "__init__.py").read_text(encoding="utf-8")
        if not all(re.search(rf"\b{name}\b", source) for name in names):
            wrong.append(f"`{text}`: no such module or name")
    return wrong


def wrong_settings(document: Document) -> list[str]:
    """Keys between back-ticks, and overrides anywhere, that no configuration knows."""
    wrong = []
    sections = Config.model_fields
    known = {*settings(), *aliases(), *result_keys(Result)}
    for text in document.code:
        found = SETTING.fullmatch(text)
        key = found.group(1) if found else ""
        if key.split(".")[0] not in sections or text.endswith((".keras", ".py", ".yaml")):
            continue
        if key not in known and not any(name.startswith(f"{key}.") for name in known):
            wrong.append(f"`{text}`: no such setting")
    for override in re.findall(r"--set[ =]+([\w.]+=[^\s`]+)", document.text):
        try:
            load_config(None, [override.strip("'\"")])
        except InputError as error:
            wrong.append(str(error).splitlines()[0])
    return wrong


def aliases() -> Iterator[str]:
    """Dotted keys of settings that have another name."""
    for section, outer in Config.model_fields.items():
        for inner in getattr(outer.annotation, "model_fields", {}).values():
            if isinstance(inner.validation_alias, AliasChoices):
                yield from (f"{section}.{name}" for name in inner.validation_alias.choices)


def result_keys(model: type) -> Iterator[str]:
    """Dotted keys of result.json, of its sections and of those in them."""
    schema = model.model_json_schema()

    def keys(properties: dict, prefix: str) -> Iterator[str]:
        for name, field in properties.items():
            yield prefix + name
            for choice in field.get("anyOf", ()):
                if "$ref" in choice:
                    definition = schema["$defs"][choice["$ref"].rsplit("/", 1)[-1]]
                    yield from keys(definition["properties"], f"{prefix}{name}.")

    yield from keys(schema["properties"], "")


def wrong_yaml(document: Document, folder: Path) -> list[str]:
    """Blocks of YAML that cannot be read as what their keys say they are.

    Experiments are written into `folder`, beside the repository's files that they name.
    """
    wrong = []
    if not (folder / "app").exists():
        (folder / "app").symlink_to(REPOSITORY / "app")
    for number, block in enumerate(document.blocks):
        if not block.is_yaml:
            continue
        path = folder / f"{document.path.stem}-{number}.yaml"
        path.write_text("\n".join(block.lines), encoding="utf-8")
        try:
            _load(path)
        except (InputError, yaml.YAMLError) as error:
            wrong.append(str(error).replace(f"{folder}/", ""))
    return wrong


def _load(path: Path) -> None:
    keys = set(yaml.safe_load(path.read_text(encoding="utf-8")))
    if "executor" in keys or "gpus" in keys:
        model = EXECUTORS[sites.executor(path)].site_model
        assert model is not None, path
        sites.read(path, model)
    elif keys & {"parameters", "repeats", "base"}:
        load_experiment(path)
    else:
        load_config(path)


def _blocks(lines: Sequence[str]) -> Iterator[Block]:
    language: str | None = None  # of the fence that is open
    kept: list[str] = []
    for line in [*lines, ""]:
        fence = re.match(r" *```(\w*)", line)
        indented = line.startswith("    ") and line.strip() and language is None
        if fence is None and (indented or language is not None):
            kept.append(line)
            continue
        if kept:
            yield Block(language or "", tuple(_dedent(kept)))
            kept = []
        if fence:
            language = fence.group(1) if language is None else None


def _dedent(lines: Sequence[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).splitlines()
