"""The error that a user can mend."""


class InputError(ValueError):
    """What a user gave cannot be used; the message is one line that says where and why."""
