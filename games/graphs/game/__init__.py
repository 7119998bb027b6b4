"""The game in pure JAX (docs/graphs.md)."""
