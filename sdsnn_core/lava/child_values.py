"""Values that travel between processes in files: JSON for the tree, npz for the arrays, never a pickle.

What can travel: dictionaries with string keys, lists, tuples, numpy arrays and scalars (dtype and shape kept), strings,
integers, floats, booleans and None.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path` at once: a reader sees the whole file or none."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def write_values(path: Path, values: dict[str, Any]) -> None:
    """Write `values` to `path`.npz and `path`.json, the latter last. Raises TypeError for what cannot travel."""
    import numpy as np

    arrays: dict[str, Any] = {}
    if not isinstance(values, dict):
        raise TypeError(f"got {type(values).__name__}, allowed a dictionary")
    tree = _encode(values, arrays, "values")
    np.savez(path.with_suffix(".npz"), allow_pickle=False, **arrays)
    write_whole(path.with_suffix(".json"), json.dumps(tree))


def _encode(value: Any, arrays: dict[str, Any], place: str) -> list[Any]:
    """Return [kind, content] for `value`, which stands at `place`; arrays go to `arrays` and leave their key."""
    import numpy as np

    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.hasobject:
            raise TypeError(f"{place}: got an array of objects, allowed numbers and strings")
        key = f"a{len(arrays)}"
        arrays[key] = np.asarray(value)
        return ["array" if isinstance(value, np.ndarray) else "scalar", key]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"{place}: got keys that are not strings")
        return ["dict", {key: _encode(item, arrays, f"{place}[{key!r}]") for key, item in value.items()}]
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return [kind, [_encode(item, arrays, f"{place}[{index}]") for index, item in enumerate(value)]]
    if value is None or isinstance(value, (bool, int, float, str)):
        return ["value", value]
    raise TypeError(
        f"{place}: got {type(value).__name__}, allowed dict, list, tuple, array, str, int, float, bool, None"
    )


def read_values(path: Path) -> Any:
    """Read what `write_values` wrote to `path`.npz and `path`.json."""
    import numpy as np

    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        return _decode(json.loads(path.with_suffix(".json").read_text()), arrays)


def _decode(tree: list[Any], arrays: Any) -> Any:
    kind, content = tree
    if kind == "array":
        return arrays[content]
    if kind == "scalar":
        return arrays[content][()]
    if kind == "dict":
        return {key: _decode(item, arrays) for key, item in content.items()}
    if kind == "value":
        return content
    items = [_decode(item, arrays) for item in content]
    return items if kind == "list" else tuple(items)
