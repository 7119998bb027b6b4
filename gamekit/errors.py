"""The error that a user can mend."""

from gamekit.text import one_line


class InputError(ValueError):
    """What a user gave cannot be used; the message is one line that says where and why.

    Whatever the message quotes, it stays one printable line of bounded length.
    """

    def __init__(self, message: object):
        super().__init__(one_line(message))
