"""Tests on virtual time."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from rtcmesh.netem import Host, LinkConfig, Trace, VirtualNetwork, run_virtual

P = ParamSpec("P")


def on_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a virtual event loop; fixtures, parameters and hypothesis work as usual.

    A parameter named `seed` becomes the seed of the run.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        seed = kwargs.get("seed", 0)
        assert isinstance(seed, int)
        run_virtual(test(*args, **kwargs), seed=seed)

    return run


def pair(link: LinkConfig | None = None, trace: Trace | None = None) -> tuple[VirtualNetwork, Host, Host]:
    """Make a network of two hosts, alice and bob."""
    network = VirtualNetwork(link=link, trace=trace)
    return network, network.add_host("alice"), network.add_host("bob")
