"""A drawing of the report as an SVG file of its own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from sdsnn_core.errors import FileError
from sdsnn_core.files import write_text


def write_picture(drawing: str, path: str | Path) -> None:
    """Write a drawing with the colours of the page, light or dark. Raises FileError for another ending."""
    check_picture(path)
    style = (resources.files("sdsnn.deploy") / "templates" / "page.css").read_text(encoding="utf-8")
    ground = '<rect width="100%" height="100%" fill="var(--bg)"/>'
    head, body = drawing.split(">", 1)
    font = "svg { font-family: system-ui, sans-serif; }"  # of the page's body, which is not in the file
    head = f'{head} xmlns="http://www.w3.org/2000/svg"'
    write_text(Path(path), f"{head}><style>\n{style}{font}\n</style>{ground}{body}\n")


def check_picture(path: str | Path) -> None:
    """Raise FileError unless `path` ends in .svg."""
    if Path(path).suffix.lower() != ".svg":
        raise FileError(f"picture {path}: expected a file that ends in .svg, got {Path(path).suffix or 'no ending'}")
