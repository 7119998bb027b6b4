"""The judge: whether a mapping is valid, and how long the program takes with it.

It shares no code with the game and reads mappings from any origin.
"""

from mallocgame.judge.simulation import Simulation, elapsed_seconds, simulate
from mallocgame.judge.verdict import KINDS, Violation, verify

__all__ = ["KINDS", "Simulation", "Violation", "elapsed_seconds", "simulate", "verify"]
