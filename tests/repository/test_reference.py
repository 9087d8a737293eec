"""The reference page says what is public, and nothing else does."""

import importlib
import re
from types import ModuleType

import pytest

from support.repository import ROOT, source_of, sources

PAGE = ROOT / "docs" / "reference.md"
ENTRY = re.compile(r"^- \[`(\w+)`\]\(\.\./([\w/.]+)\): ", re.MULTILINE)
PACKAGES = [
    "rtcmesh.peer",
    "rtcmesh.peer.sctp",
    "rtcmesh.peer.testing",
    "rtcmesh.peer.webrtc",
    "rtcmesh.relay",
    "rtcmesh.relay.testing",
    "rtcmesh.signaling",
    "rtcmesh.signaling.testing",
    "rtcmesh.netem",
    "rtcmesh.netem.profiles",
    "rtcmesh.netem.verification",
    "rtcmesh.netem.scenario",
    "rtcmesh.netem.proxy",
    "rtcmesh.netem.real",
]


def entries(package: str) -> dict[str, str]:
    """Return the file that the page names for each public name of a package."""
    _, _, rest = PAGE.read_text().partition(f"\n## {package}\n")
    names = ENTRY.findall(rest.partition("\n## ")[0])
    assert len(names) == len(dict(names)), "a name stands twice"
    return dict(names)


def public_names(module: ModuleType) -> list[str]:
    names: list[str] = module.__all__
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_lists_what_a_package_offers(package: str) -> None:
    names = public_names(importlib.import_module(package))
    assert sorted(entries(package)) == sorted(names)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_entry_links_to_the_definition(package: str) -> None:
    for name, path in entries(package).items():
        definition = rf"^(class |def |async def )?{name}\b.*[:=(]"
        assert re.search(definition, (ROOT / path).read_text(), re.MULTILINE), (
            f"{name} is not defined in {path}"
        )


def test_every_module_that_lists_public_names_is_on_the_page() -> None:
    listing = {path for path in sources() if re.search(r"^__all__ = ", path.read_text(), re.MULTILINE)}
    known = {path for package in PACKAGES for path in (source_of(package), source_of(f"{package}.__init__"))}
    assert listing <= known
    assert re.findall(r"^## (.*)$", PAGE.read_text(), re.MULTILINE) == PACKAGES
