"""TOML documents as types, with errors that name file, line and key, and what was probably meant."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, NoReturn, TypeVar, cast, overload

import msgspec
from msgspec import inspect

from .errors import NetemError
from .toml_lines import Path, lines_of

T = TypeVar("T")
Table = Mapping[str, Any]


class DocumentInvalid(NetemError):
    """A document does not say what it should."""

    def __init__(self, file: str, line: int, key: str, problem: str) -> None:
        super().__init__(file, line, key, problem)
        self.file = file
        self.line = line
        self.key = key
        """The way to it from the root, such as `hosts.ann.loss`; empty for the document as a whole."""
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}{': ' if self.key else ''}{self.problem}"


class Document:
    """A TOML document that knows where everything in it stands."""

    def __init__(self, text: str, file: str) -> None:
        """Read a document. Raises `DocumentInvalid` where it is not TOML."""
        self.file = file
        try:
            self.root: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"line (\d+)", str(error))
            line = int(found[1]) if found else text.count("\n") + 1
            raise DocumentInvalid(file, line, "", str(error)) from None
        except RecursionError:
            raise DocumentInvalid(file, 1, "", "something in it is nested too deeply") from None
        self._lines = lines_of(text)

    def refuse(self, path: Path, problem: str) -> NoReturn:
        """Raise `DocumentInvalid` about what stands there, or should."""
        known = path
        while known not in self._lines:
            known = known[:-1]
        raise DocumentInvalid(self.file, self._lines[known], _dotted(path), problem)

    def refuse_name(self, path: Path, name: str, what: str, names: Iterable[str]) -> NoReturn:
        """Raise `DocumentInvalid` about a name that stands for nothing."""
        self.refuse(path, f"{name!r} is no {what}{_meant(name, names)}")

    @overload
    def convert(self, value: object, to: type[T], path: Path) -> T: ...

    @overload
    def convert(self, value: object, to: object, path: Path) -> Any: ...  # noqa: ANN401  (a union)

    def convert(self, value: object, to: Any, path: Path) -> Any:
        """Return a value of the document, which stands at `path`, as a type. Raises `DocumentInvalid`."""
        self.check_keys(value, to, path)
        try:
            return msgspec.convert(value, to)
        except msgspec.ValidationError as error:
            problem, _, at = str(error).partition(" - at `$")
            steps, first = _steps(at), problem.partition(" ")[0]
            found = _found(value, steps)
            if isinstance(found, dict) and first in found:  # what a type checks by itself it names first
                steps = (*steps, first)
            path = (*path, *steps)
            self.refuse(path, _as_toml(problem))

    def check_keys(self, value: object, to: object, path: Path) -> None:
        """Raise `DocumentInvalid` for a key that the type does not have, or one that it needs."""
        self._check(value, _type_info(to), path)

    def check_known(self, table: Table, names: Iterable[str], path: Path) -> None:
        """Raise `DocumentInvalid` for a key that is none of these."""
        names = list(names)
        for key in table:
            if key not in names:
                self.refuse((*path, key), f"there is no such key here{_meant(key, names)}")

    def _check(self, value: object, info: inspect.Type, path: Path) -> None:
        if isinstance(value, dict):
            self._check_dict(cast("Table", value), info, path)
        elif isinstance(value, list) and isinstance(info, inspect.ListType | inspect.VarTupleType):
            for index, item in enumerate(cast("list[object]", value)):
                self._check(item, info.item_type, (*path, index))
        elif isinstance(value, str) and (words := _words_of(info)) and value not in words:
            self.refuse_name(path, value, "word for this", words)

    def _check_dict(self, table: Table, info: inspect.Type, path: Path) -> None:
        match info:
            case inspect.StructType() | inspect.DataclassType():
                self._check_table(table, info, path)
            case inspect.UnionType():
                if (member := self._chosen(table, info, path)) is not None:
                    self._check_table(table, member, path)
            case inspect.DictType():
                for key, item in table.items():
                    self._check(item, info.value_type, (*path, key))
            case _:
                pass

    def _check_table(
        self, table: Table, info: inspect.StructType | inspect.DataclassType, path: Path
    ) -> None:
        fields = {field.encode_name: field for field in info.fields}
        tag = [info.tag_field] if isinstance(info, inspect.StructType) and info.tag_field else []
        self.check_known(table, [*fields, *tag], path)
        for name, field in fields.items():
            if name in table:
                self._check(table[name], field.type, (*path, name))
            elif field.required:
                self.refuse(path, f"the key {name!r} is missing")

    def _chosen(
        self, table: Table, union: inspect.UnionType, path: Path
    ) -> inspect.StructType | inspect.DataclassType | None:
        """Return the member of a union that a table is meant to be."""
        members = [m for m in union.types if isinstance(m, inspect.StructType | inspect.DataclassType)]
        tagged = {str(m.tag): m for m in members if isinstance(m, inspect.StructType) and m.tag_field}
        if not tagged:
            return members[0] if len(members) == 1 else None
        field = next(iter(tagged.values())).tag_field or ""
        if field not in table:
            self.refuse(path, f"the key {field!r} is missing")
        if (tag := table[field]) not in list(tagged):
            self.refuse_name((*path, field), tag, f"word for {field!r}", tagged)
        return tagged[tag]


def _words_of(info: inspect.Type) -> list[str]:
    """Return the words that alone may stand somewhere; none where others may as well."""
    match info:
        case inspect.EnumType(cls=cls):
            return [member.value for member in cls]
        case inspect.LiteralType(values=values):
            return [value for value in values if isinstance(value, str)]
        case inspect.UnionType(types=types):
            return _words_of(types[0]) if len(types) == 2 and isinstance(types[1], inspect.NoneType) else []
        case _:
            return []


@cache
def _type_info(of: Any) -> inspect.Type:  # noqa: ANN401  (also unions)
    return inspect.type_info(of)


def _meant(name: str, names: Iterable[str]) -> str:
    names = list(names)
    close = get_close_matches(str(name), names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(sorted(names))}" if names else ""


def _dotted(path: Path) -> str:
    dotted = "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in path)
    return dotted.removeprefix(".")


def _steps(at: str) -> Path:
    """Return the path that msgspec writes like `.up.loss` or `[0].node`, up to where it hides a key as `[...]`."""
    steps = re.findall(r"\.(\w+)|\[(\d+)\]", at.partition("[...]")[0])
    return tuple(name or int(index) for name, index in steps)


def _found(value: Any, steps: Path) -> Any:  # noqa: ANN401  (what TOML holds)
    for step in steps:
        value = value[step]
    return value


def _as_toml(problem: str) -> str:
    names = {"object": "a table", "array": "a list", "str": "a string", "null": "nothing"}

    def named(match: re.Match[str]) -> str:
        kinds = match[1].split(" | ")
        return " or ".join(names.get(kind, f"`{kind}`") for kind in kinds)

    return re.sub(r"`([\w | ]+)`", named, problem)
