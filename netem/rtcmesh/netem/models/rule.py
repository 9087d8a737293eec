"""Rules that drop packets by what they are: "the second DTLS flight", "only consent checks", "UDP but not TCP 443"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Literal

import msgspec

from rtcmesh.netem.packet import Contents, Kind

from .carriable import Carriable
from .fate import Fate
from .packet_class import Classifier, PacketClass
from .ranges import check_not_negative, check_probabilities


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What happens to packets for which all of this holds. The first rule that concerns a packet decides about it."""

    action: Literal["drop", "pass"] = "drop"
    classes: tuple[PacketClass, ...] = ()
    """What they are for; none named: anything."""
    transport: Literal["udp", "tcp"] | None = None
    port: int | None = None
    """Of either end."""
    flight: int | None = None
    """Only DTLS handshakes, and of them the flight with this number, however often it is repeated: 1 is the first one
    that goes this way between two endpoints."""
    probability: float = 1.0
    """The rule concerns each packet by chance."""
    skip: int = 0
    """How many packets, for which all the rest holds, it lets be at first."""
    limit: int | None = None
    """To how many it applies after that; None: to all."""
    until: float | None = None
    """So many seconds after the first packet that met these rules, they end."""

    def __post_init__(self) -> None:
        check_probabilities(probability=self.probability)
        check_not_negative(skip=self.skip, limit=self.limit, until=self.until)
        if self.port is not None and not 0 < self.port < 65536:
            raise ValueError(f"port must be from 1 to 65535, not {self.port}")
        if self.flight is not None and self.flight < 1:
            raise ValueError(f"flight must be at least 1, not {self.flight}")


class RuleState:
    """A rule, and how many packets it has met."""

    def __init__(self, rule: Rule, random: Random) -> None:
        self.rule = rule
        self._kind = None if rule.transport is None else Kind[rule.transport.upper()]
        self._last = math.inf if rule.limit is None else rule.skip + rule.limit
        self._met = 0
        self._random = random

    def concerns(self, contents: Contents | None, packet_class: PacketClass, flight: int, age: float) -> bool:
        """Tell whether the rule decides about a packet."""
        rule = self.rule
        if rule.until is not None and age >= rule.until:
            return False
        if rule.classes and packet_class not in rule.classes:
            return False
        if rule.flight is not None and flight != rule.flight:
            return False
        if not self._is_for(contents):
            return False
        if rule.probability < 1 and self._random.random() >= rule.probability:
            return False
        self._met += 1
        return rule.skip < self._met <= self._last

    def _is_for(self, contents: Contents | None) -> bool:
        port = self.rule.port
        if contents is None:
            return self._kind is None and port is None
        if self._kind not in {None, contents.kind}:
            return False
        return port is None or port in {contents.source.port, contents.destination.port}


class Rules:
    """Asks the rules in their order."""

    def __init__(self, rules: Sequence[Rule], classifier: Classifier, random: Random) -> None:
        self._states = [RuleState(rule, random) for rule in rules]
        self._classifier = classifier
        self._began_at: float | None = None

    def judge(self, packet: Carriable, now: float) -> Fate | None:
        """Return `FILTERED` or None."""
        if self._began_at is None:
            self._began_at = now
        contents = packet.contents()
        packet_class, flight = self._classifier.classify(contents)
        for state in self._states:
            if state.concerns(contents, packet_class, flight, now - self._began_at):
                return Fate.FILTERED if state.rule.action == "drop" else None
        return None
