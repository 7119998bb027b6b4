"""Machines and workloads of Stream (github.com/KULeuven-MICAS/stream) as problems."""
