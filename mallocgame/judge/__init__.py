"""The judge: whether a mapping is valid, and how long the program takes with it.

It shares no code with the game and reads mappings from any origin.
"""

from mallocgame.judge.simulation import Simulation, simulate
from mallocgame.judge.verdict import KINDS, Violation, verify

__all__ = ["KINDS", "Simulation", "Violation", "simulate", "verify"]
