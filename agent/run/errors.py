"""What may go wrong in a training that was asked for correctly."""


class TrainingDiverged(Exception):
    """The loss is no number any more; the message is one line."""
