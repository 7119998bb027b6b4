"""A run on the host: loop, checkpoints, journal, devices, play."""
