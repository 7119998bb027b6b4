"""Reads what the compiler leaves: modules, schedules, chips, traffic."""
