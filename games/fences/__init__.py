"""Fences and syncs: what runs on the CPU, what on the GPU, and where one waits for the other."""
