"""Pictures that matplotlib drew, as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gamekit.errors import InputError
from gamekit.files import unwritable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".pdf", ".png", ".svg")


def check_picture(path: Path) -> None:
    """Refuses names that tell no format of pictures.

    Raises:
      InputError: the name has another ending.
    """
    if path.suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise InputError(f"{path}: must end in one of {known}")


def save_picture(figure: Figure, path: Path) -> None:
    """Writes a figure in the format that the name tells, and closes it.

    Raises:
      InputError: the name has another ending, or the place cannot be written.
    """
    from matplotlib import pyplot

    try:
        check_picture(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        pyplot.close(figure)
