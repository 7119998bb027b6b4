"""Opponents: schedules that are made without learning."""
