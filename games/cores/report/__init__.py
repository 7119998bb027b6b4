"""Schedules for people."""
