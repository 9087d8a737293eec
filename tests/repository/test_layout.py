"""What no tool checks about the files."""

import ast
import re

import pytest

from support.repository import FOLDERS, ROOT, read_pyproject, sources, sources_of

MAX_LINES = 450


def test_every_folder_is_a_portion_of_the_namespace() -> None:
    """One `__init__.py` in the namespace itself would hide the other folders at run time."""
    portions = [folder / "rtcmesh" for folder in FOLDERS if (folder / "rtcmesh").is_dir()]
    assert len(portions) == len(FOLDERS) == 4
    for portion in portions:
        assert [path.name for path in portion.glob("*.py")] == []
        (package,) = [path for path in portion.iterdir() if path.name != "__pycache__"]
        assert package.name == portion.parent.name
        assert (package / "py.typed").is_file()


def test_no_module_outgrows_its_noun() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def machines() -> list[str]:
    (contract,) = [c for c in read_pyproject().tool.importlinter.contracts if c.name.startswith("Machines")]
    return contract.source_modules


@pytest.mark.parametrize("module", machines())
def test_a_machine_is_given_its_chance_and_its_time(module: str) -> None:
    """Of `random` a machine may know the type alone, and of the clock nothing."""
    nodes = [node for path in sources_of(module) for node in ast.walk(ast.parse(path.read_text()))]
    assert nodes
    for node in nodes:
        if isinstance(node, ast.Import):
            assert {"random", "time", "datetime"}.isdisjoint(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "random":
            assert [alias.name for alias in node.names] == ["Random"]


def test_the_version_is_the_newest_of_the_changelog() -> None:
    released = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == read_pyproject().project.version


def test_no_test_is_left_out() -> None:
    left_out = re.compile(r"(pytest|mark|unittest)\.(skip|xfail|importorskip)|time\.sleep\(")
    for path in (ROOT / "tests").rglob("*.py"):
        assert not left_out.search(path.read_text()), path


def test_every_link_between_the_pages_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]
    pages += [page for folder in FOLDERS for page in folder.glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
