"""The game in pure JAX (docs/cores.md)."""
