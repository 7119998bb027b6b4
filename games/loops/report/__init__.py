"""Loop nests for people."""
