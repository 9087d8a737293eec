"""Where the keys of a TOML document stand, which the standard library's reader does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Keys and positions from the root to a value."""

_TOKEN = re.compile(
    r"""
      (?P<skip>[ \t\r]+|\#[^\n]*)
    | (?P<newline>\n)
    | (?P<word>"{3}(?:\\[\s\S]|[^\\])*?"{3,5}|'{3}[\s\S]*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[^\s\[\]{}=,."'\#]+)
    | (?P<mark>[\[\]{}=,.])
    """,
    re.VERBOSE,
)


class _Token(NamedTuple):
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skip":
            yield _Token(match.group(), line)
        line += match.group().count("\n")


class _Scanner:
    """Walks a document that is known to be valid TOML."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {(): 1}
        self._tokens = [*_tokens(text), _Token("\n", text.count("\n") + 1)]
        self._at = 0
        self._table: Path = ()
        self._lengths: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        while self._at < len(self._tokens):
            match self._peek():
                case "\n":
                    self._at += 1
                case "[":
                    self._header()
                case _:
                    self._pair(self._table)
        return self.lines

    def _peek(self) -> str:
        return self._tokens[self._at].text

    def _take(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _header(self) -> None:
        line = self._take().line
        is_array = self._peek() == "["
        self._at += is_array
        path: Path = ()
        for key in self._keys("]"):
            if path in self._lengths:
                path += (self._lengths[path] - 1,)
            path += (key,)
        self._at += is_array
        if is_array:
            self.lines.setdefault(path, line)
            self._lengths[path] = self._lengths.get(path, 0) + 1
            path += (self._lengths[path] - 1,)
        self._table = path
        self._note(path, line)

    def _keys(self, end: str) -> list[str]:
        keys: list[str] = []
        while (token := self._take()).text != end:
            if token.text != ".":
                keys.append(_key(token.text))
        return keys

    def _pair(self, table: Path) -> None:
        line = self._tokens[self._at].line
        path = (*table, *self._keys("="))
        self._note(path, line)
        self._value(path)

    def _value(self, path: Path) -> None:
        match self._take().text:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case _:
                while self._peek() not in (",", "]", "}", "\n"):  # the parts of a number or a date
                    self._at += 1

    def _array(self, path: Path) -> None:
        index = 0
        while self._peek() != "]":
            if self._peek() in (",", "\n"):
                self._at += 1
                continue
            self._note((*path, index), self._tokens[self._at].line)
            self._value((*path, index))
            index += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        while self._peek() != "}":
            if self._peek() in (",", "\n"):
                self._at += 1
                continue
            self._pair(path)
        self._at += 1

    def _note(self, path: Path, line: int) -> None:
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)
        if path not in self._lengths:
            self.lines[path] = line


def _key(written: str) -> str:
    if written[0] not in "\"'":
        return written
    (key,) = tomllib.loads(f"{written} = 0")
    return key


def lines_of(text: str) -> dict[Path, int]:
    """Return the line of every key and element of a document, which `tomllib` must have accepted."""
    return _Scanner(text).scan()
