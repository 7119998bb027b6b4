"""Opponents of the agent."""
