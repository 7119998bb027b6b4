"""The learner: a MuZero agent that knows the game only through init, step and observe."""
