"""What an evaluation of the mallocGame shows beyond the kit's: gains, gaps, pictures."""
