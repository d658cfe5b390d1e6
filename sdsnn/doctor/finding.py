"""One line of a diagnosis."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """State of one part of the installation.

    Attributes:
        part: Name of the package or ability.
        state: 'works'; 'missing' (required, not installed); 'broken' (installed, fails); 'absent' (optional).
        detail: Version and what was seen.
        costs: What does not work without the part.
        command: Shell command that installs it, or ''.
    """

    part: str
    state: Literal["works", "missing", "broken", "absent"]
    detail: str
    costs: str = ""
    command: str = ""
