"""Energy from counted operations and cited prices."""
