"""Profiles as TOML: one file for a family.

    [sources]
    survey = "A survey, table 3"                                  # `assumed` needs no entry

    [village]
    description = "DSL in a village"
    loss_is = "residual"                                          # where something is lost
    round_trip_ms = { value = 40, source = "survey" }             # half of it each way; or one_way_ms
    loss_percent = { value = 0.5, source = "survey" }             # holds for both directions, unless ...
    [village.down]
    rate_kbit_per_second = { value = 6000, source = "survey" }
    queue_ms = { value = 200, source = "assumed" }
    [village.up]                                                  # ... it stands here
    rate_kbit_per_second = { value = 600, source = "survey" }
    queue_packets = { value = 50, source = "survey" }

A rate that changes is given by `rate_steps`, pairs of seconds and kbit/s, or by `rate_file`, a trace beside the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.models.loss import Bursts
from rtcmesh.netem.models.rate_trace import RateStep, RateSteps, RateTrace
from rtcmesh.netem.models.reconfiguration import Reconfiguration
from rtcmesh.netem.toml_lines import Path
from rtcmesh.netem.typed_toml import Document

from .description import ASSUMED, Figure, LossScope, Profile

PACKET_BYTES = 1500
"""What a packet counts in a queue that is bounded in packets."""

_BITS = 8
_MS = 1e-3


class _Sourced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: float
    source: str


class _SourcedSteps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: tuple[tuple[float, float], ...]
    """Pairs of seconds and kbit/s."""
    source: str


class _SourcedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: str
    """The path of a trace."""
    source: str


class _Numbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be said of one direction, or of both."""

    rate_kbit_per_second: _Sourced | None = None
    rate_steps: _SourcedSteps | None = None
    rate_file: _SourcedFile | None = None
    one_way_ms: _Sourced | None = None
    jitter_ms: _Sourced | None = None
    loss_percent: _Sourced | None = None
    mean_burst_packets: _Sourced | None = None
    queue_ms: _Sourced | None = None
    queue_packets: _Sourced | None = None
    step_period_s: _Sourced | None = None
    step_spread_ms: _Sourced | None = None
    outage_ms: _Sourced | None = None
    outage_loss_percent: _Sourced | None = None


class _Table(_Numbers, frozen=True, kw_only=True, forbid_unknown_fields=True):
    description: str
    loss_is: LossScope | None = None
    round_trip_ms: _Sourced | None = None
    up: _Numbers = msgspec.field(default_factory=_Numbers)
    down: _Numbers = msgspec.field(default_factory=_Numbers)


NUMBERS = tuple(field.name for field in msgspec.structs.fields(_Numbers))


Sourced = _Sourced | _SourcedSteps | _SourcedFile
LoadTrace = Callable[[str], RateTrace]


def read_profiles(text: str, file: str, load_trace: LoadTrace) -> dict[str, Profile]:
    """Return the profiles of a document by their names. Raises `DocumentInvalid`, which names line and key.

    `load_trace` reads what a `rate_file` names; of what it raises, `OSError` becomes `DocumentInvalid`.
    """
    return _Reader(Document(text, file), load_trace).read()


class _Reader:
    def __init__(self, document: Document, load_trace: LoadTrace) -> None:
        self._document = document
        self._load_trace = load_trace
        self._sources: dict[str, str] = {}

    def read(self) -> dict[str, Profile]:
        tables = dict(self._document.root)
        self._sources = self._document.convert(tables.pop("sources", {}), dict[str, str], ("sources",))
        return {name: self._profile(name, table) for name, table in tables.items()}

    def _profile(self, name: str, raw: Any) -> Profile:  # noqa: ANN401  (what TOML holds)
        table = self._document.convert(raw, _Table, (name,))
        if table.loss_is is None and self._loses(table):
            self._document.refuse((name,), "the key 'loss_is' is missing: residual or raw")
        figures = tuple(self._figures(table, name))
        return Profile(
            name=name,
            description=table.description,
            up=self._link(table, "up", (name,)),
            down=self._link(table, "down", (name,)),
            loss_scope=table.loss_is,
            figures=figures,
        )

    def _loses(self, table: _Table) -> bool:
        return any(
            numbers.loss_percent is not None or numbers.outage_ms is not None
            for numbers in (table, table.up, table.down)
        )

    def _figures(self, table: _Table, name: str) -> list[Figure]:
        figures: list[Figure] = []
        for direction, numbers in (("both", table), ("down", table.down), ("up", table.up)):
            keys = ("round_trip_ms", *NUMBERS) if direction == "both" else NUMBERS
            for key in keys:
                sourced: Sourced | None = getattr(numbers, key)
                if sourced is None:
                    continue
                path = (name, key) if direction == "both" else (name, direction, key)
                if isinstance(sourced, _Sourced):
                    self._check(sourced.value, path)
                figures.append(Figure(direction, key, _shown(sourced), self._source(sourced.source, path)))
        return figures

    def _check(self, value: float, path: Path) -> None:
        most = 100 if str(path[-1]).endswith("_percent") else math.inf
        if not 0 <= value <= most or math.isinf(value):
            self._document.refuse((*path, "value"), f"must be finite and from 0 to {most:g}, not {value:g}")

    def _source(self, source: str, path: Path) -> str:
        if source == ASSUMED:
            return ASSUMED
        if source not in self._sources:
            self._document.refuse_name((*path, "source"), source, "source", [*self._sources, ASSUMED])
        return self._sources[source]

    def _link(self, table: _Table, direction: str, path: Path) -> LinkConfig:
        """Build what one direction does. Its own numbers go before those of both."""
        own: _Numbers = getattr(table, direction)
        path = (*path, direction)
        number = {key: getattr(own, key) or getattr(table, key) for key in NUMBERS}
        value: dict[str, float] = {
            key: sourced.value for key, sourced in number.items() if isinstance(sourced, _Sourced)
        }
        if table.round_trip_ms is not None:
            if "one_way_ms" in value:
                self._document.refuse(path, "round_trip_ms and one_way_ms cannot both be given")
            value["one_way_ms"] = table.round_trip_ms.value / 2
        try:
            return LinkConfig(
                delay=value.get("one_way_ms", 0.0) * _MS,
                jitter=value.get("jitter_ms", 0.0) * _MS,
                loss=_loss_of(value),
                reconfiguration=_reconfiguration_of(value),
                rate_trace=self._trace(number["rate_steps"], number["rate_file"], path),
                **_queue_of(value),
            )
        except ValueError as error:
            self._document.refuse(path, str(error))

    def _trace(self, steps: _SourcedSteps | None, file: _SourcedFile | None, path: Path) -> RateTrace | None:
        if steps is not None and file is not None:
            raise ValueError("rate_steps and rate_file cannot both be given")
        if file is not None:
            try:
                return self._load_trace(file.value)
            except OSError as error:
                self._document.refuse((*path, "rate_file"), str(error))
        return None if steps is None else _steps_of(steps)


def _loss_of(value: dict[str, float]) -> float | Bursts:
    loss = value.get("loss_percent", 0.0) / 100
    burst = value.get("mean_burst_packets")
    return loss if burst is None else Bursts(loss=loss, mean_burst=burst)


def _reconfiguration_of(value: dict[str, float]) -> Reconfiguration | None:
    if "step_period_s" not in value:
        if unused := {"step_spread_ms", "outage_ms", "outage_loss_percent"} & value.keys():
            raise ValueError(f"{min(unused)} needs step_period_s")
        return None
    return Reconfiguration(
        period=value["step_period_s"],
        spread=value.get("step_spread_ms", 0.0) * _MS,
        outage=value.get("outage_ms", 0.0) * _MS,
        outage_loss=value.get("outage_loss_percent", 100.0) / 100,
    )


def _steps_of(steps: _SourcedSteps) -> RateSteps:
    return RateSteps(steps=tuple(RateStep(seconds, rate * 1000 / _BITS) for seconds, rate in steps.value))


def _queue_of(value: dict[str, float]) -> dict[str, Any]:
    queue: dict[str, Any] = {}
    if "rate_kbit_per_second" in value:
        queue["rate_bytes_per_second"] = value["rate_kbit_per_second"] * 1000 / _BITS
    if "queue_packets" in value and "queue_ms" in value:
        raise ValueError("queue_packets and queue_ms cannot both be given")
    if "queue_packets" in value:
        queue["max_queue_bytes"] = int(value["queue_packets"] * PACKET_BYTES)
    if "queue_ms" in value:
        queue["max_queue_delay"] = value["queue_ms"] * _MS
    return queue


def _shown(sourced: Sourced) -> str:
    if isinstance(sourced, _Sourced):
        return f"{sourced.value:g}"
    if isinstance(sourced, _SourcedFile):
        return sourced.value
    return ", ".join(f"{rate:g} for {seconds:g} s" for seconds, rate in sourced.value)
