"""Self-play: games in lockstep, and how they follow the best game so far."""
