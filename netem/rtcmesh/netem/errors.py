"""What the laboratory raises when an experiment cannot go on."""

from collections.abc import Sequence


class NetemError(Exception):
    """The base of every error that only the laboratory raises.

    It is no `OSError`, so that programs under test do not mistake it for a fault of their network.
    """


class Deadlock(NetemError):
    """Every task waits, and nothing is left that could ever wake one of them."""

    def __init__(self, waits: Sequence[str]) -> None:
        super().__init__(waits)
        self.waits = tuple(waits)
        """One line per pending task: its name and where it waits."""

    def __str__(self) -> str:
        return "\n  ".join(["no timer, packet or job can end these waits:", *self.waits])


class VirtualTimeExceeded(NetemError):
    """The run wanted to go on past the virtual time it was given."""

    def __init__(self, limit: float) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"the run was still going after {self.limit:g} s of virtual time"


class NotVirtualTime(NetemError):
    """Code that needs virtual time ran on another event loop."""

    def __str__(self) -> str:
        return "no virtual event loop is running: start the program with run_virtual"


class NoCurrentHost(NetemError):
    """Code opened a socket outside of every host."""

    def __str__(self) -> str:
        return "no host is current: open sockets inside `with host:`, or in a task started there"


class NoVirtualNetwork(NetemError):
    """Code opened a socket on a virtual event loop that has no network."""

    def __str__(self) -> str:
        return "this virtual event loop has no network: create a VirtualNetwork first"


class CannotCarry(NetemError):
    """This backend cannot do what was asked of it; the message says which can."""
