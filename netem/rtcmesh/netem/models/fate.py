"""What becomes of packets."""

import enum
from dataclasses import dataclass


class Fate(enum.Enum):
    """What a link decided about a packet when it arrived. Each but the first is the name of a counter."""

    CARRIED = "carried"
    LOST = "lost"
    DROPPED = "dropped"
    SHED = "shed"
    CUT = "cut"
    CORRUPTED = "corrupted"
    OVERSIZED = "oversized"
    FILTERED = "filtered"


@dataclass(slots=True)
class LinkCounters:
    """What became of the packets given to a link.

    sent + duplicated = delivered + lost + dropped + shed + cut + corrupted + oversized + filtered + in flight.
    """

    sent: int = 0
    duplicated: int = 0
    """Copies that a link made."""
    delivered: int = 0
    lost: int = 0
    """By the loss model, or while the path was configured anew."""
    dropped: int = 0
    """At a full queue: the newcomer, or the oldest ones in its favour."""
    shed: int = 0
    """By CoDel, from a queue that stood too long."""
    cut: int = 0
    """Sent while the link was cut."""
    corrupted: int = 0
    """Damaged, so that the receiver's checksum refuses them."""
    oversized: int = 0
    """Longer than the MTU."""
    filtered: int = 0
    """By a rule for packets of their kind."""
    reordered: int = 0
    """Of those delivered or in flight: held back so that others overtake them."""
    damaged: int = 0
    """Of those delivered or in flight: changed, with a checksum that fits."""

    def count(self, fate: Fate) -> None:
        """Count a packet that does not arrive."""
        setattr(self, fate.value, getattr(self, fate.value) + 1)

    @property
    def gone(self) -> int:
        """How many packets will not arrive, whatever the reason."""
        return (
            self.lost + self.dropped + self.shed + self.cut + self.corrupted + self.oversized + self.filtered
        )
