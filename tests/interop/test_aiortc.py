"""Interoperation with bare aiortc, on real sockets."""

from __future__ import annotations

import pytest

from interop.aiortc_remote import aiortc_remote
from interop.scenarios import check_closing, check_everything


@pytest.mark.parametrize("offering", [True, False], ids=["we offer", "it offers"])
async def test_everything_crosses(offering: bool) -> None:
    await check_everything(aiortc_remote, offering=offering)


@pytest.mark.parametrize("offering", [True, False], ids=["we offer", "it offers"])
async def test_closing_delivers_first(offering: bool) -> None:
    await check_closing(aiortc_remote, offering=offering)
