"""Interoperation with libdatachannel under its Python binding, which there is for Python 3.12 and later."""

from __future__ import annotations

import pytest

from interop.scenarios import check_closing, check_everything
from interop.stacks.libdatachannel_remote import libdatachannel_remote


@pytest.mark.parametrize("offering", [True, False], ids=["we offer", "it offers"])
async def test_everything_crosses(offering: bool) -> None:
    await check_everything(libdatachannel_remote, offering=offering)


@pytest.mark.parametrize("offering", [True, False], ids=["we offer", "it offers"])
async def test_closing_delivers_first(offering: bool) -> None:
    await check_closing(libdatachannel_remote, offering=offering)
