"""Event engine: bit-accurate simulation whose cost follows the spikes. See docs/engine.md.

Importing it is cheap; numba is loaded with the first run.
"""

from .engine import Engine, compile_network, default_threads, run
from .inputs import events_to_dense
from .stream import Stream
from .stream import open_stream as open

__all__ = ["Engine", "Stream", "compile_network", "default_threads", "events_to_dense", "open", "run"]
