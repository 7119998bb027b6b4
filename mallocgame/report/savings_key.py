"""The colours of savings, and the bar that tells what they mean."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.ticker import NullLocator

from mallocgame.report.figures import draw_ticks

# The part of a colour map that stands out from the paper.
SAVINGS = ListedColormap(colormaps["YlGnBu"](np.linspace(0.18, 1, 256)))
RAISED = str.maketrans("-0123456789", "\u207b⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw_key(axes: Axes, norm: LogNorm) -> Axes:
    """A bar that tells what the colours of savings mean, where the legend of kinds is."""
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)
    key = axes.inset_axes((0.0, 1.016, 0.45, 0.03))
    bar = axes.figure.colorbar(
        ScalarMappable(norm, SAVINGS.resampled(32)), cax=key, orientation="horizontal",
        ticklocation="top", format=_power,
    )  # fmt: skip
    key.xaxis.set_minor_locator(NullLocator())
    between = np.outer(10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high)), range(2, 10))
    draw_ticks(key, between[(between >= low) & (between <= high)], 1.5, above=True)
    bar.outline.set_visible(False)  # type: ignore[operator]
    key.tick_params(labelsize=7, pad=1, length=2.5)
    key.text(
        1.03, 0.5, "saves at most, share of the all-slow latency", transform=key.transAxes,
        va="center", fontsize=8,
    )  # fmt: skip
    return key


def _power(number: float, _: object = None) -> str:
    """A power of ten, without the mathematical typesetting that a `LogFormatter` asks for."""
    return "10" + str(round(np.log10(number))).translate(RAISED)
