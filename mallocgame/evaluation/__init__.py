"""Runs mappers on suites: what to run, in which processes, rows that survive an interruption."""
