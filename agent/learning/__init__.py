"""Learning: replay, targets, samples, loss, updates."""
