"""Kernels of nests: C code, compiled, checked against numpy, and timed."""
