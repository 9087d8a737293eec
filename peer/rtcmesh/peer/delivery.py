"""What a channel promises for its messages, and which of them go first."""

from __future__ import annotations

from enum import Enum


class Delivery(Enum):
    """What is promised for the messages from one peer to one other on one channel, whatever the paths do.

    Every promise holds for one session: until a peer leaves, restarts, or is out of reach for
    `MeshConfig.session_timeout`; what was not delivered is then given back. A channel with an outbox keeps RELIABLE
    messages beyond that.
    """

    RELIABLE = "reliable"
    """Every message once, in the order in which they were sent."""
    UNORDERED = "unordered"
    """Every message once, each as soon as it is complete: a lost one does not hold up the others."""
    LATEST = "latest"
    """Only ever newer messages than the one before, and in the end the newest; older ones may be left out."""
    BEST_EFFORT = "best_effort"
    """Each message once or not at all, in any order; it is never sent again, and the oldest give way in a queue."""


class Priority(Enum):
    """Which messages go first when a path cannot take all."""

    INTERACTIVE = "interactive"
    """Before all bulk. A message of more than one fragment counts as bulk all the same."""
    BULK = "bulk"
    """When nothing interactive waits."""
