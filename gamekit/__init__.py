"""What an agent and the games it plays share; it knows none of them."""
