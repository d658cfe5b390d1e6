"""The source as text: who imports whom, what a start of the command line loads, what must not stand in it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sdsnn.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
# Each room may import those before it.
ORDER = ("sdsnn_core", "train", "export", "deploy", "sdsnn")
CODE = sorted(path for room in ORDER for path in (ROOT / room).rglob("*.py"))
BESIDE = sorted(path for folder in ("tests", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LONGEST = 400
# A child process writes its error to a file, a thread hands its error to the one that waits for it.
REPORTERS = ("sdsnn_core/system/contained.py", "sdsnn_core/lava/child.py", "deploy/engine/engine.py")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Yield (module, relative level, whether at module level) of each import that can run."""
    tree = ast.parse(path.read_text())

    def visit(node: ast.AST, top: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, 0, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                names = [child.module] if child.module else [alias.name for alias in child.names]
                if child.module == "sdsnn":
                    names = [f"sdsnn.{alias.name}" for alias in child.names]
                yield from ((name, child.level, top) for name in names)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from visit(child, top and not inside)

    return visit(tree, True)


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_rooms_import_upstream_only(path: Path) -> None:
    """And themselves by relative imports."""
    room = path.relative_to(ROOT).parts[0]
    allowed = {f"sdsnn.{other}" for other in ORDER[1 : ORDER.index(room)]}
    depth = len(path.relative_to(ROOT).parts) - 1
    for module, level, _ in imports(path):
        first, _, rest = module.partition(".")
        if level:
            assert level <= depth, f"{'.' * level}{module} leaves the room"
        elif first == "sdsnn":
            stage = f"sdsnn.{rest.partition('.')[0]}"
            assert stage in allowed or name_of(path) == "sdsnn/cli/app.py", f"{room} imports {module}"
        elif first == "sdsnn_core":
            assert room != "sdsnn_core", f"{module}: the room imports itself by relative imports"


@pytest.mark.parametrize("path", [*CODE, *BESIDE], ids=name_of)
def test_nothing_imports_the_folders_of_the_checkout(path: Path) -> None:
    """From the repository's root both `train` and `sdsnn.train` import, as two different modules."""
    for module, level, _ in imports(path):
        assert level or module.partition(".")[0] not in ("train", "export", "deploy", "tests"), module


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_lava_is_imported_behind_its_one_door(path: Path) -> None:
    """Never when a module is imported; and in a function only after lava_compat has been there."""
    text = path.read_text()
    found = [(module, top) for module, level, top in imports(path) if not level and module.partition(".")[0] == "lava"]
    assert not any(top for _, top in found), found
    if found and name_of(path) != "export/lava/processes.py":  # what lava_run.py calls after ensure_lava
        assert re.search(r"\b(ensure_lava|import_lava|import_netx)\(\)", text), "nothing applies the shims"


@pytest.mark.parametrize("path", [path for path in CODE if path.parts[-2] == "sdsnn_core"], ids=name_of)
def test_the_core_knows_no_other_tools_formats(path: Path) -> None:
    forbidden = {"nir", "h5py", "tonic", "sklearn", "matplotlib", "pydantic"}
    assert not {module.partition(".")[0] for module, level, _ in imports(path) if not level} & forbidden


def test_a_start_of_the_command_line_imports_nothing_heavy() -> None:
    heavy = (
        "torch", "lava", "numpy", "scipy", "numba", "h5py", "nir", "tonic", "sklearn", "matplotlib", "pydantic",
    )  # fmt: skip
    code = f"import sys, sdsnn.cli.app; print(sorted(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "[]"


def texts() -> list[Path]:
    """Return every text file of the project, this one left out."""
    kinds = {".py", ".md", ".toml", ".txt", ".html", ".json"}
    folders = (*ORDER, "tests", "benchmarks", "scripts", "docs", ".ci")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    found += [path for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".coverage")]
    return sorted(
        path
        for path in found
        if (path.suffix in kinds or path.name in ("Makefile", "run", "LICENSE"))
        and "__pycache__" not in path.parts
        and path != Path(__file__).resolve()
    )


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"(?<![\w.])/(work|home|root|tmp|opt|Users)/\w", "a path of one machine"),
        (r"\b(TODO|FIXME|XXX)\b", "work left for later"),
        (r"\.\./shared\b", "a folder beside the checkout"),
        (r"\bpypi\.org|pythonhosted|anaconda\.org|download\.pytorch", "the host of a package index"),
        (r"^(<<<<<<<|>>>>>>>) ", "a conflict of a merge"),
    ],
)
def test_nothing_of_this_stands_in_the_project(pattern: str, what: str) -> None:
    expression = re.compile(pattern, re.MULTILINE)
    found = [f"{name_of(path)}: {match[0]}" for path in texts() if (match := expression.search(path.read_text()))]
    assert found == [], what


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_only_what_reports_to_others_catches_everything(path: Path) -> None:
    if name_of(path) in REPORTERS:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            caught = "" if node.type is None else ast.unparse(node.type)
            passes_on = any(isinstance(item, ast.Raise) for item in ast.walk(node))
            assert passes_on or not re.search(r"^$|\b(Base)?Exception\b", caught), f"line {node.lineno}"


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


def command_of(name: str) -> Any:
    """Return the command `name`, or None."""
    group: Any = typer.main.get_command(app)
    return group.commands.get(name)


def shown_commands() -> list[tuple[str, list[str]]]:
    """Return what the pages show to type after `sdsnn`: in blocks of code and between backticks."""
    found = []
    for page in PAGES:
        text = page.read_text()
        spans = [match[1] for match in re.finditer(r"`([^`\n]+)`", text)]
        for line in [*text.splitlines(), *spans]:
            match = re.match(r"^(?:\s{4,}|\$ )?(?:\S*bin/)?sdsnn ([a-z][\w-]*\b.*)", line.partition("  #")[0])
            code = line in spans or line.startswith(("    ", "$ ", "sdsnn ", ".venv"))
            if match and code:
                found.append((name_of(page), match[1].split()))
    return found


def test_the_commands_that_the_pages_show_exist() -> None:
    shown = shown_commands()
    assert shown
    for page, words in shown:
        command = command_of(words[0])
        assert command is not None, f"{page}: sdsnn {words[0]}"
        options = {option for item in command.params for option in (*item.opts, *item.secondary_opts)} | {"--help"}
        for word in words[1:]:
            if re.match(r"--[a-z]", word):
                assert word.partition("=")[0] in options, f"{page}: sdsnn {words[0]} {word}"


def test_the_targets_of_make_that_the_pages_show_exist() -> None:
    targets = set(re.findall(r"^([.\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"(?:^ {4}|`)(?:\w+=\S+ )?make ([.a-z][\w-]*)", page.read_text(), re.MULTILINE):
            assert target in targets, f"{name_of(page)}: make {target}"


def test_the_links_of_the_pages_lead_somewhere() -> None:
    """To a file, and in a page to one of its headings."""
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)(#[^)]*)?\)", page.read_text()):
            path = (page.parent / target).resolve() if target else page
            assert path.exists(), f"{name_of(page)}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
                anchors = {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor in anchors, f"{name_of(page)}: {target}{anchor}"


def test_the_index_lists_every_page() -> None:
    """The pages for users, one by one."""
    index = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index, f"docs/index.md does not list {page.name}"


def test_the_files_that_the_pages_name_exist() -> None:
    """Paths from the repository's root between backticks, without line numbers and patterns."""
    for page in PAGES:
        for path in re.findall(rf"`((?:{'|'.join(ORDER)}|tests|benchmarks|scripts|locks)/[\w/.-]+)`", page.read_text()):
            assert (ROOT / path).exists(), f"{name_of(page)}: {path}"
