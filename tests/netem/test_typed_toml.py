"""TOML documents as types: every mistake is told with its line, its key and a suggestion."""

import tomllib
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem.toml_lines import Path, lines_of
from rtcmesh.netem.typed_toml import Document, DocumentInvalid

TEXT = """\
title = "a # b"
size = {x = 1, y = [2, 3]}  # a comment with [brackets]
text = '''
[no.table]
'''
when = 1979-05-27T07:32:00.5Z

[hosts.ann]
behind = "home"
"quoted key" = -1.5e3

[[events]]
at = 1
nested.deep = 2

[[events]]
at = [
  1,
  [2,
   3],
]

[events.more]
x = ""
[[events.list]]
y = 1
"""


def test_every_key_has_its_line() -> None:
    tomllib.loads(TEXT)
    lines = lines_of(TEXT)
    assert {_dotted(path): line for path, line in lines.items()} == {
        "": 1, "title": 1, "size": 2, "size.x": 2, "size.y": 2, "size.y.0": 2, "size.y.1": 2, "text": 3, "when": 6,
        "hosts": 8, "hosts.ann": 8, "hosts.ann.behind": 9, "hosts.ann.quoted key": 10,
        "events": 12, "events.0": 12, "events.0.at": 13, "events.0.nested": 14, "events.0.nested.deep": 14,
        "events.1": 16, "events.1.at": 17, "events.1.at.0": 18, "events.1.at.1": 19, "events.1.at.1.0": 19,
        "events.1.at.1.1": 20, "events.1.more": 23, "events.1.more.x": 24, "events.1.list": 25, "events.1.list.0": 25,
        "events.1.list.0.y": 26,
    }  # fmt: skip


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


scalars = st.one_of(
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False),
    st.booleans(),
    st.text(),
    st.dates(),
    st.datetimes(),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(table=st.dictionaries(st.text(), values, max_size=4), multiline=st.booleans())
def test_whatever_is_in_a_document_is_found(table: dict[str, Any], *, multiline: bool) -> None:
    text = tomli_w.dumps(table, multiline_strings=multiline)
    assert set(_paths(tomllib.loads(text), ())) == set(lines_of(text))
    assert max(lines_of(text).values()) <= text.count("\n") + 1


def _paths(value: object, path: Path) -> list[Path]:
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = [*cast("dict[str, object]", value).items()]
    elif isinstance(value, list):
        inner = [*enumerate(cast("list[object]", value))]
    return [path, *(deeper for key, item in inner for deeper in _paths(item, (*path, key)))]


@dataclass(frozen=True)
class Wire:
    """A dataclass with a check of its own."""

    delay: float = 0.0
    rates: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.delay < 0:
            raise ValueError("delay must not be negative")


class Cut(msgspec.Struct, tag_field="do", tag="cut", forbid_unknown_fields=True):
    """A member of a union."""

    node: str


class Heal(msgspec.Struct, tag_field="do", tag="heal", forbid_unknown_fields=True):
    """Another one."""

    node: str
    wire: Wire | None = None


class Plan(msgspec.Struct, forbid_unknown_fields=True):
    """A document."""

    title: str
    wires: dict[str, Wire] = {}
    steps: tuple[Cut | Heal, ...] = ()


STEP = "title = 'a'\n[[steps]]\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title = 'a'\ntitel = 2", "2: titel: there is no such key here; did you mean 'title'?"),
        ("title = 'a'\nzzz = 2", "2: zzz: there is no such key here; there are steps, title, wires"),
        ("", "1: the key 'title' is missing"),
        ("title = 5", "1: title: Expected a string, got `int`"),
        (
            "title = 'a'\n\n[wires.up]\ndelya = 1",
            "4: wires.up.delya: there is no such key here; did you mean 'delay'?",
        ),
        ("title = 'a'\n[wires.up]\n\ndelay = 'x'", "2: wires: Expected `float`, got a string"),
        (
            STEP + "do = 'cutt'\nnode = 'a'",
            "3: steps[1].do: 'cutt' is no word for 'do'; did you mean 'cut'?",
        ),
        (STEP + "node = 'a'", "2: steps[1]: the key 'do' is missing"),
        (STEP + "do = 'cut'", "2: steps[1]: the key 'node' is missing"),
        (
            STEP + "do = 'cut'\nnode = 'a'\nwire = {}",
            "5: steps[1].wire: there is no such key here; there are do, node",
        ),
        (
            STEP + "do='cut'\nnode='a'\n[[steps]]\ndo = 'heal'\nnode = 'a'\nwire = {delay = -1}",
            "8: steps[2].wire.delay: delay must not be negative",
        ),
        (
            STEP + "do = 'heal'\nnode = 'a'\nwire = {rates = [1,\n'x']}",
            "6: steps[1].wire.rates[2]: Expected `int`, got a string",
        ),
        ("title = \nb", "1: Invalid value (at line 1, column 9)"),
        ("title = 'a", "1: "),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(DocumentInvalid) as raised:
        _read(text)
    assert str(raised.value).startswith(f"plan.toml:{complaint}")


def _read(text: str) -> Plan:
    document = Document(text, "plan.toml")
    return document.convert(document.root, Plan, ())


def test_a_type_that_checks_itself_leads_to_the_key_that_it_names() -> None:
    document = Document("[up]\nrates = [1]\ndelay = -1", "link.toml")
    with pytest.raises(DocumentInvalid, match=r"^link.toml:3: up.delay: delay must not be negative$"):
        document.convert(document.root["up"], Wire, ("up",))


def test_what_is_right_becomes_a_value() -> None:
    assert _read("title = 'a'\n[wires.up]\ndelay = 1\nrates = [1, 2]") == Plan(
        title="a", wires={"up": Wire(1.0, (1, 2))}
    )
