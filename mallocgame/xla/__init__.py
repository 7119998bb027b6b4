"""Imports a production compiler's dumps: programs, calibrated latencies, production's mapping."""
