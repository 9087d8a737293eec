"""The repository as its own tests see it."""

import tomllib
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
FOLDERS = [folder for name in ("signaling", "peer", "netem", "relay") if (folder := ROOT / name).is_dir()]


class Project(msgspec.Struct):
    """What `[project]` says."""

    version: str


class Contract(msgspec.Struct):
    """A rule about imports."""

    name: str
    source_modules: list[str] = []


class ImportLinter(msgspec.Struct):
    """All rules about imports."""

    contracts: list[Contract]


class Tools(msgspec.Struct):
    """The tools' configuration, as far as it is read here."""

    importlinter: ImportLinter


class Pyproject(msgspec.Struct):
    """pyproject.toml."""

    project: Project
    tool: Tools


def read_pyproject() -> Pyproject:
    return msgspec.convert(tomllib.loads((ROOT / "pyproject.toml").read_text()), Pyproject)


def sources() -> list[Path]:
    """Return every Python file of the product."""
    return sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))


def source_of(module: str) -> Path:
    """Return the file of a module of the product."""
    _, component, *rest = module.split(".")
    return ROOT.joinpath(component, "rtcmesh", component, *rest).with_suffix(".py")


def sources_of(module: str) -> list[Path]:
    """Return the file of a module of the product, or all of a package."""
    path = source_of(module)
    return [path] if path.exists() else sorted(path.with_suffix("").rglob("*.py"))
