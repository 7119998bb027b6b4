"""Searches for loop nests, and kernels of libraries and compilers."""
