"""The floor plan: no circle of imports, few files to a folder, no list of files by prefix."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"sdsnn_core": "sdsnn_core", "train": "sdsnn.train", "export": "sdsnn.export", "deploy": "sdsnn.deploy"}
PACKAGES["sdsnn"] = "sdsnn"
MOST_FILES = 15
MOST_SIBLINGS = 2  # files of one folder whose names begin alike, up to the first underscore
LIBRARY = [path for room in PACKAGES for path in (ROOT / room).rglob("*.py")]
FOLDERS = sorted({path.parent for path in LIBRARY})


def module_of(path: Path) -> str:
    room, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([PACKAGES[room], *(part for part in rest if part != "__init__")])


MODULES = {module_of(path): path for path in LIBRARY}


def imported(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield every import that can run, those inside functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from imported(child)


def arrows(module: str) -> set[str]:
    """Return the modules of the library that `module` imports."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for statement in imported(ast.parse(path.read_text())):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
            continue
        base = package.rsplit(".", statement.level - 1)[0] if statement.level else ""
        whole = ".".join(part for part in (base, statement.module) if part)
        for alias in statement.names:
            inner = f"{whole}.{alias.name}"
            found.add(inner if inner in MODULES else whole)
    return (found & set(MODULES)) - {module}


GRAPH = {module: arrows(module) for module in MODULES}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other, each sorted (Tarjan, SIAM J. Comput. 1, 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    result = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in order:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                result.append(sorted(group))

    for module in sorted(graph):
        if module not in order:
            visit(module)
    return result


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_the_graph_is_read() -> None:
    assert {"sdsnn_core.network", "sdsnn_core.activity"} <= GRAPH["sdsnn_core.reference"]
    assert "sdsnn_core.network" in GRAPH["sdsnn.deploy.engine.plan"]
    assert sum(map(len, GRAPH.values())) > 500


def test_no_circle_of_imports() -> None:
    found = circles(GRAPH)
    assert not found, "\n".join(" <-> ".join(group) for group in found)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_a_folder_is_small_and_no_list_by_prefix(folder: Path) -> None:
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    assert len(names) <= MOST_FILES, f"{len(names)} files"
    count = Counter(name.partition("_")[0] for name in names)
    many = {prefix for prefix, n in count.items() if n > MOST_SIBLINGS}
    assert not many, f"a folder of their own for {', '.join(sorted(many))}"
