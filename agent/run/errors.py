"""What may go wrong in a training that was asked for correctly."""

from gamekit.errors import InputError


class Damaged(InputError):
    """A checkpoint's files are not what they were when they were written."""


class TrainingDiverged(Exception):
    """The loss is no number any more; the message is one line."""
