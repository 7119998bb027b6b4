"""Fits the cost model to measurements of this machine."""
