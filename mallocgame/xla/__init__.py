"""Import of a production compiler's dumps: programs, latency calibration, production's mapping."""
