"""YAML text as plain values within bounds: of what cannot be used, one line says why.

Configurations come from other people. A few hundred bytes of YAML can stand for gigabytes, by
aliases of aliases, or for a tree that no program can walk, by nesting.
"""

import re
from typing import Any

import yaml

LARGEST_FILE = 1 << 20  # bytes
MOST_NODES = 100_000  # values, lists and sections, each alias counted as what it stands for
DEEPEST = 32  # lists and sections in each other

_TAG = "tag:yaml.org,2002:"
_KINDS = [_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map")]


class _Loader(yaml.SafeLoader):
    """Safe loading that reads `1e-3` as a number, which YAML 1.1 takes for text, and `10:50:10` as
    text, which it takes for a number to the base 60; dates are text as well.
    """

    def __init__(self, text: str):
        super().__init__(text)
        self._depth = 0
        self._composed = 0  # nodes so far, each alias counted once
        self._extents: dict[int, tuple[int, int]] = {}  # by node: nodes in it, and their depth

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")
        self._composed += 1
        if self._composed > MOST_NODES:  # Not only once the list that holds them ends.
            raise ValueError(f"more than {MOST_NODES} values")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return node
        if not alias:
            self._extents[id(node)] = self._extent(node)
        elif id(node) not in self._extents:
            raise ValueError("an alias refers to what contains it")
        nodes, depth = self._extents[id(node)]
        if nodes > MOST_NODES or self._depth + depth > DEEPEST:
            raise ValueError(f"more than {MOST_NODES} values, or nested more than {DEEPEST} deep")
        return node

    def _extent(self, node: yaml.Node) -> tuple[int, int]:
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            _require_unique([key for key, _ in node.value])
            children = [child for pair in node.value for child in pair]
        inner = [self._extents[id(child)] for child in children]
        depth = 1 + max((depth for _, depth in inner), default=0)
        return 1 + sum(nodes for nodes, _ in inner), depth


_Loader.yaml_constructors = {
    None: yaml.SafeLoader.yaml_constructors[None],  # of all other tags: refuses them
    **{kind: yaml.SafeLoader.yaml_constructors[kind] for kind in _KINDS},
}
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag in (_TAG + "null", _TAG + "bool", _TAG + "merge")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# As in YAML 1.2, but without octal and hexadecimal numbers, which nobody means here.
_Loader.add_implicit_resolver(
    _TAG + "int", re.compile(r"^[-+]?(0|[1-9]\d*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(
        r"^([-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def parse(text: str) -> Any:
    """The value that YAML text stands for; raises ValueError, in one line, if there is none.

    A key that stands twice in a section is refused, and so is every tag but those of plain values.
    """
    try:
        return yaml.load(text, _Loader)
    except Exception as error:  # PyYAML raises whatever a value makes its conversions raise.
        raise ValueError(" ".join(str(error).split())[:300]) from None


def _require_unique(keys: list[yaml.Node]) -> None:
    seen: set[tuple[str, str]] = set()
    for key in keys:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in seen:
                line = key.start_mark.line + 1
                raise ValueError(f"line {line}: duplicate key {key.value[:80]!r}")
            seen.add((key.tag, key.value))
