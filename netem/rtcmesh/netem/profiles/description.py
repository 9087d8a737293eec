"""A network that people use: how both directions treat packets, and where that is known from."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from rtcmesh.netem.link import LinkConfig

ASSUMED = "assumed"
"""How the source of a number begins that nobody measured: plausible, and the first one to change."""


class LossScope(enum.Enum):
    """Which losses a profile tells of."""

    RESIDUAL = "residual"
    """What the link layer's retransmissions leave: what programs see."""
    RAW = "raw"
    """What happens to frames below them: programs would see less of it, and more delay."""


class Figure(NamedTuple):
    """A number of a profile as its source has it."""

    direction: str
    """`up`, `down`, or `both`."""
    name: str
    """What it is, with its unit."""
    value: str
    source: str

    @property
    def is_assumed(self) -> bool:
        """Whether nobody measured it."""
        return self.source.startswith(ASSUMED)


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Asymmetric: up is what the user's device sends. Delays of the links are one way."""

    name: str
    description: str
    up: LinkConfig
    down: LinkConfig
    loss_scope: LossScope | None
    """None where nothing is lost but by the queue."""
    figures: tuple[Figure, ...]
    """Every number with its source; what is not here is that of a perfect wire."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Where its numbers come from, each once; what is assumed comes last."""
        ranked = sorted(self.figures, key=lambda figure: figure.is_assumed)
        return tuple(dict.fromkeys(figure.source for figure in ranked))
