"""Interoperation with stacks from npm: werift, written in TypeScript, and libdatachannel under its W3C interface."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from interop.remote import Remote
from interop.scenarios import OpenRemote, check_everything
from interop.stacks.node_remote import node_remote

STACKS: dict[str, tuple[str, int]] = {
    "werift": ("werift", 64 * 1024),
    "node-datachannel": ("node-datachannel/polyfill", 256 * 1024),
}


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest) -> OpenRemote:
    module, limit = STACKS[request.param]
    remote: partial[AbstractAsyncContextManager[Remote]] = partial(node_remote, module, limit)
    return remote


@pytest.mark.parametrize("offering", [True, False], ids=["we offer", "it offers"])
async def test_everything_crosses(stack: OpenRemote, offering: bool) -> None:
    await check_everything(stack, offering=offering)
