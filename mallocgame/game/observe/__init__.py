"""What the agent sees of a state."""
