"""Interoperation with Chromium."""

from __future__ import annotations

import pytest

from interop.scenarios import check_closing, check_everything
from interop.stacks.chromium_remote import chromium_remote


@pytest.mark.parametrize("offering", [True, False], ids=["we offer", "it offers"])
async def test_everything_crosses(offering: bool) -> None:
    await check_everything(chromium_remote, offering=offering)


@pytest.mark.parametrize("offering", [True, False], ids=["we offer", "it offers"])
async def test_closing_delivers_first(offering: bool) -> None:
    await check_closing(chromium_remote, offering=offering)
