"""A second opinion on energy and time: SANA-FE, a simulator of many-core chips, replays a network's own spikes."""
