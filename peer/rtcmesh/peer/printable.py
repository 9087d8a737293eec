"""Text of strangers, fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return the text without what would steer a terminal."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
