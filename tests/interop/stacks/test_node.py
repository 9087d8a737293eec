"""Interoperation with stacks from npm: werift, written in TypeScript, and libdatachannel under its W3C interface."""

from __future__ import annotations

from functools import partial

import pytest

from interop.remote import Quirk
from interop.scenarios import OpenRemote, check_everything
from interop.stacks.node_remote import node_remote

STACKS = {
    "werift": partial(node_remote, "werift", 64 * 1024, quirks=Quirk),
    "node-datachannel": partial(node_remote, "node-datachannel/polyfill", 256 * 1024),
}


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest) -> OpenRemote:
    return STACKS[request.param]


@pytest.mark.parametrize("offering", [True, False], ids=["we offer", "it offers"])
async def test_everything_crosses(stack: OpenRemote, offering: bool) -> None:
    await check_everything(stack, offering=offering)
