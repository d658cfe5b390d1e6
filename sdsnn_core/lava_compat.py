"""The place of `sdsnn_core.lava.compat` in version 0.1, whose documentation showed it; kept for users' scripts."""

from .lava.compat import ensure_lava, import_lava, import_netx, import_slayer

__all__ = ["ensure_lava", "import_lava", "import_netx", "import_slayer"]
