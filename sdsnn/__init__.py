"""Train spiking networks whose structure develops, and run them on a Loihi-class chip, bit for bit.

The names below are loaded when they are first used, so `import sdsnn` is cheap and needs neither torch nor Lava.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

# Name -> (module, its name there), from the stub that type checkers read.
_PLACES = {
    alias.asname or alias.name: (statement.module, alias.name)
    for statement in ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
    if isinstance(statement, ast.ImportFrom) and statement.module
    for alias in statement.names
}
__all__ = sorted([*_PLACES, "__version__", "train"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value: Any = version("sdsnn")
        except PackageNotFoundError:
            value = "unknown"
    elif name == "train":
        value = import_module("sdsnn.train")
    elif name in _PLACES:
        module, attribute = _PLACES[name]
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module 'sdsnn' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
