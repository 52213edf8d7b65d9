"""Tables made of models: keys, types, limits, defaults, sections."""

import json
from typing import Any, Literal

from pydantic import Field

from cloudmask.config.document import json_schema, model_tables, undescribed
from cloudmask.config.settings import Config
from cloudmask.config.yaml_model import Section
from cloudmask.experiments.executors import EXECUTORS
from cloudmask.experiments.experiment import ExperimentFile
from cloudmask.record.result import Result


class Leaf(Section):
    """A leaf.

    More about it, which no table needs.
    """

    title: str = Field("a|b", pattern="^a|b$", description="with a | in it")


class Tree(Section):
    """A model with every kind of field."""

    count: int = Field(3, ge=0, lt=2**31, description="a number")
    rate: float = Field(0.0, gt=0, le=0.5, description="another")
    kind: Literal["", "b"] = Field("", description="a choice")
    fixed: Literal["x"] = Field(description="needed")
    maybe: str | None = Field(None, description="or nothing")
    names: list[str] = Field([], min_length=2, description="several")
    any: dict[str, Any] = Field({}, description="anything")
    leaf: Leaf = Leaf()
    leaves: list[Leaf] = Field([], description="many")
    named: dict[str, Leaf] = Field({}, description="by name")
    bare: bool = False


EXPECTED = r"""| key | type | values | default | meaning |
|---|---|---|---|---|
| `count` | integer | ≥ 0, < 2147483648 | `3` | a number |
| `rate` | number | > 0, ≤ 0.5 | `0` | another |
| `kind` | one of | `""`, `b` | `""` | a choice |
| `fixed` | constant | `x` | required | needed |
| `maybe` | text or null |  | `null` | or nothing |
| `names` | list of text | at least 2 | `[]` | several |
| `any` | mapping |  | `{}` | anything |
| `leaf` | [section](#leaf) |  |  | A leaf. |
| `leaves` | list of [section](#leaf) |  | `[]` | many |
| `named` | mapping of [section](#leaf) |  | `{}` | by name |
| `bare` | boolean |  | `false` |  |

### `leaf`

A leaf.

| key | type | values | default | meaning |
|---|---|---|---|---|
| `leaf.title` | text | `^a\|b$` | `a\|b` | with a \| in it |
"""


def test_every_kind_of_field_has_its_row():
    assert model_tables(Tree) == EXPECTED


def test_keys_without_description_are_found():
    assert undescribed(Tree) == ["Tree.bare"]


def test_every_key_of_every_file_is_described():
    sites = [executor.site_model for executor in EXECUTORS.values() if executor.site_model]
    for model in (Config, ExperimentFile, *sites, Result):
        assert undescribed(model) == [], model


def test_the_schema_has_no_titles_but_a_key_of_that_name():
    schema = json.loads(json_schema(Tree))
    assert "title" not in schema
    assert schema["$defs"]["Leaf"]["properties"]["title"]["description"] == "with a | in it"
    assert "title" not in schema["$defs"]["Leaf"]["properties"]["title"]
