"""Loop nests: in which order, at which tile sizes a contraction's loops run on a CPU."""
