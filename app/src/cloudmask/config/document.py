"""Models written out from the descriptions that stand at their fields: as Markdown, as plain text.

`docs/generate.py` writes docs/configuration.md and a part of docs/formats.md with the first,
`cloudmask config` prints the second.
"""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from pydantic import BaseModel

HEADER = ("| key | type | values | default | meaning |", "|---|---|---|---|---|")
TYPES = {
    "boolean": "boolean",
    "integer": "integer",
    "number": "number",
    "string": "text",
    "null": "null",
    "array": "list",
    "object": "mapping",
}
LIMITS = (
    ("exclusiveMinimum", "> {}"),
    ("minimum", "≥ {}"),
    ("exclusiveMaximum", "< {}"),
    ("maximum", "≤ {}"),
    ("minItems", "at least {}"),
    ("minProperties", "at least {}"),
)
DESCRIPTION = "description"
SECTION_LINK = re.compile(r"\[section\]\(#[\w-]*\)")


@dataclass(frozen=True)
class KeyRow:
    """What is known of a key, in words; the type may hold a link, the default is YAML."""

    key: str
    type: str
    values: str
    default: str
    meaning: str


class _Sections:
    """The sections of a model's JSON schema, each under the dotted key where it is first used."""

    def __init__(self, model: type[BaseModel]):
        schema = model.model_json_schema()
        self.definitions: Mapping[str, Any] = schema.get("$defs", {})
        self.keys: dict[str, str] = {}
        # Sections that a table mentions are appended while the list is walked.
        self.waiting: list[tuple[str, Mapping[str, Any]]] = [("", schema)]

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        yield from self.waiting

    def key_of(self, definition: str, key: str) -> str:
        """Where the section is described: `key`, unless an earlier key has the same section."""
        if definition not in self.keys:
            self.keys[definition] = key
            self.waiting.append((key, self.definitions[definition]))
        return self.keys[definition]


def model_tables(model: type[BaseModel], level: int = 3) -> str:
    """Markdown tables of all keys of a model: one without a heading, then one for each section.

    Headings of the sections are of `level` and hold the section's dotted key; `NAME` stands for any
    key of a mapping, `[]` for any item of a list.
    """
    sections = _Sections(model)
    parts = []
    for key, schema in sections:
        rows = [_markdown(row) for row in _rows(sections, key, schema)]
        # Tables first, since sections are numbered in the order in which their rows name them.
        heading = [f"{'#' * level} `{key}`", "", _summary(schema), ""] if key else []
        parts.append("\n".join([*heading, *HEADER, *rows, ""]))
    return "\n".join(parts)


def model_text(model: type[BaseModel], width: int) -> str:
    """All keys of a model as plain text of at most `width` columns, as far as words are that short.

    Each key has a line with its type, what is allowed and its default, and its meaning below; the
    sections of the model follow each other, each under its first sentence.
    """
    sections = _Sections(model)
    parts = []
    for key, schema in sections:
        rows = [
            line
            for row in _rows(sections, key, schema)
            # What a section is stands at its head.
            if not SECTION_LINK.fullmatch(row.type)
            for line in _plain(row, width)
        ]
        summary = f"{key}: {_summary(schema)}".rstrip(": ")
        heading = [*textwrap.wrap(summary, width), ""] if key else []
        if rows:
            parts.append("\n".join([*heading, *rows, ""]))
    return "\n".join(parts)


def undescribed(model: type[BaseModel]) -> list[str]:
    """Keys of a model that have no description."""
    schema = model.model_json_schema()
    found = []
    for section in (schema, *schema.get("$defs", {}).values()):
        for name, field in _fields(section):
            if DESCRIPTION not in field and not _is_section(field):
                found.append(f"{section['title']}.{name}")
    return found


def json_schema(model: type[BaseModel]) -> str:
    """The model's JSON schema, without the titles, which only repeat the keys."""
    return json.dumps(_without_titles(model.model_json_schema()), indent=1, ensure_ascii=False)


def _fields(schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(schema.get("properties", {}).items())


def _summary(schema: Mapping[str, Any]) -> str:
    """The first paragraph of a class's docstring, on one line."""
    return " ".join(schema.get(DESCRIPTION, "").split("\n\n")[0].split())


def _rows(sections: _Sections, section: str, schema: Mapping[str, Any]) -> list[KeyRow]:
    """The keys of a section."""
    rows = []
    for name, field in _fields(schema):
        key = f"{section}.{name}" if section else name
        default = "required" if name in schema.get("required", ()) else _default(field)
        meaning = field.get(DESCRIPTION) or _section_summary(sections, field)
        rows.append(KeyRow(key, _type(sections, key, field), _values(field), default, meaning))
    return rows


def _markdown(row: KeyRow) -> str:
    cells = (f"`{row.key}`", *astuple(row)[1:])
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _plain(row: KeyRow, width: int) -> list[str]:
    """The lines of a key, without the marks of Markdown."""
    default = row.default if row.default in ("", "required") else f"default: {row.default}"
    kind = SECTION_LINK.sub("section", row.type)
    # "one of `a`, `b`" is one statement, "number, > 0" are two.
    allowed = (
        f"{kind} {row.values}" if kind == "one of" else ", ".join(filter(None, (kind, row.values)))
    )
    facts = "; ".join(filter(None, (allowed, default)))
    facts = facts.replace("`", "").replace("\u2265", ">=").replace("\u2264", "<=")
    first = textwrap.wrap(
        f"  {row.key:<30}  {facts}", width, subsequent_indent=" " * 34, break_long_words=False
    )
    indent = " " * 6
    return first + textwrap.wrap(
        row.meaning.replace("`", ""),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
    )


def _type(sections: _Sections, key: str, field: Mapping[str, Any]) -> str:
    """What a value is, with a link to the section that it holds."""
    if "$ref" in field:
        where = sections.key_of(_definition(field), key)
        return f"[section](#{_anchor(where)})"
    if "anyOf" in field:
        return " or ".join(_type(sections, key, choice) for choice in field["anyOf"])
    if "const" in field or "enum" in field:
        return "one of" if len(_choices(field)) > 1 else "constant"
    kind = TYPES.get(field.get("type", ""), "any")
    if kind == "list" and field.get("items"):
        return f"list of {_type(sections, f'{key}[]', field['items'])}"
    inner = field.get("additionalProperties")
    if kind == "mapping" and isinstance(inner, Mapping):
        return f"mapping of {_type(sections, f'{key}.NAME', inner)}"
    return kind


def _values(field: Mapping[str, Any]) -> str:
    """What is allowed: the choices, or the limits."""
    if choices := _choices(field):
        return ", ".join(f"`{_yaml(choice)}`" for choice in choices)
    if "anyOf" in field:
        return ", ".join(filter(None, map(_values, field["anyOf"])))
    limits = [text.format(f"{field[name]:.12g}") for name, text in LIMITS if name in field]
    if "pattern" in field:
        limits.append(f"`{field['pattern']}`")
    return ", ".join(limits)


def _choices(field: Mapping[str, Any]) -> list[Any]:
    return [field["const"]] if "const" in field else list(field.get("enum", ()))


def _default(field: Mapping[str, Any]) -> str:
    if "default" not in field or "$ref" in field:
        return ""
    return f"`{_yaml(field['default'])}`"


def _yaml(value: Any) -> str:
    """A value as a YAML file would hold it; text that YAML reads as it stands has no quotes."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str) and value:
        return value
    return json.dumps(value)


def _is_section(field: Mapping[str, Any]) -> bool:
    return _reference(field) is not None


def _reference(field: Mapping[str, Any]) -> str | None:
    """The definition that a field refers to, itself or as one of several types."""
    for choice in (field, *field.get("anyOf", ())):
        if "$ref" in choice:
            return _definition(choice)
    return None


def _definition(field: Mapping[str, Any]) -> str:
    return str(field["$ref"]).rsplit("/", 1)[-1]


def _section_summary(sections: _Sections, field: Mapping[str, Any]) -> str:
    definition = _reference(field)
    return _summary(sections.definitions[definition]) if definition else ""


def _anchor(heading: str) -> str:
    """The anchor that a renderer of Markdown gives a heading made of a key."""
    return "".join(c for c in heading.lower() if c.isalnum() or c in "_-")


def _without_titles(value: Any, named: bool = False) -> Any:
    """`value` without the key "title" of schemas; `named` for a mapping from names to schemas."""
    if isinstance(value, Mapping):
        return {
            key: _without_titles(item, key in ("properties", "$defs") and not named)
            for key, item in value.items()
            if named or key != "title"
        }
    return [_without_titles(item) for item in value] if isinstance(value, list) else value
