"""README and docs: every link leads somewhere, every command exists with its options, every Python block runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.main import get_command

from sdsnn.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^(?:\$ |> )?(?:\.venv/bin/)?sdsnn (.*?)(?:\s{2,}.*|\s#.*)?$")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and mkdocs make them, and those set by hand."""
    text = page.read_text()
    heads = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", line) for line in re.findall(r"^#+ (.*)$", text, re.M))
    slugs = {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", head.lower()).strip()) for head in heads}
    return slugs | set(re.findall(r'(?:id|name)="([^"]+)"', text)) | set(re.findall(r"\{ ?#([\w-]+) ?\}", text))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for match in LINK.finditer(page.read_text()):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)}: {target} does not exist"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{name(page)}: {target}: no such heading"


def commands_of(page: Path) -> list[str]:
    """Return the `sdsnn ...` lines of a page's code blocks, without what follows two spaces or a #."""
    text = page.read_text()
    blocks = re.findall(r"^```(?:sh|bash|console|text)?\n(.*?)^```", text, re.M | re.S)
    blocks += re.findall(r"(?:^    .*\n)+", text, re.M)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [match[1] for line in lines if (match := COMMAND.match(line.strip()))]


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)], ids=name)
def test_every_command_exists_with_its_options(page: Path) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for line in commands_of(page):
        words = [word for word in shlex.split(line) if word not in ("...", "|")]
        if words[0].startswith("-"):
            continue
        command = commands.get(words[0])
        assert command is not None, f"{name(page)}: sdsnn {line}: no such command"
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)}
        unknown = used - options - {"--help"}
        assert not unknown, f"{name(page)}: sdsnn {line}: no option {', '.join(sorted(unknown))}"


def test_the_python_blocks_compile() -> None:
    for page in PAGES:
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
            compile(block, name(page), "exec")


def test_the_data_set_of_contributing_loads() -> None:
    names: dict[str, Any] = {}
    [block] = re.findall(r"^```python\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
    exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    data = names["load"](SimpleNamespace(n_steps=20), 0, False)
    assert data.train.spikes.shape == (80, 20, 16)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [80, 20, 20]
