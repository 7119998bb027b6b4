"""Figures in one style, as files and as markup for the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping as MappingABC
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

STYLE: Any = {
    "svg.hashsalt": "mallocgame",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": False,
    "legend.frameon": False,
}
# The colours that the page may change in dark mode: ink, paper and the greys between.
LOOP, SOFT = "#f1f1f1", "#666666"
THEMED = {
    "#000000": "currentColor",
    "#ffffff": "var(--paper)",
    LOOP: "var(--faint)",
    SOFT: "var(--soft)",
}
# The id of a legend, which the page hides when it shows the other colours.
LEGEND = "legend"
# Colours that stay distinct in greyscale and for the colour-blind (Paul Tol's "bright", "muted").
PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#882255", "#999933",
    "#44aa99", "#117733", "#332288", "#ddaa77",
)  # fmt: skip


def styled() -> Any:
    """The context in which figures must be made and written."""
    return matplotlib.rc_context(STYLE)


def write_figure(figure: Figure, stem: Path | None) -> bytes:
    """The figure as SVG; also writes `stem`.svg and `stem`.png if a stem is given."""
    image = io.BytesIO()
    figure.savefig(image, format="svg", metadata={"Date": None})
    if stem is not None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_name(stem.name + ".svg").write_bytes(image.getvalue())
        figure.savefig(stem.with_name(stem.name + ".png"), dpi=150)
    return image.getvalue()


def embedded(image: bytes, groups: MappingABC[str, tuple[str, str]] | None = None) -> str:
    """SVG as markup for the page: small, without a preamble, in the page's own ink and paper.

    groups: id of a group in the figure -> the text shown when the pointer is over it, and its other
      colour (see `style.STYLE`, which also gives it its outline).  Other ids are removed, because a
      page holds many figures.
    """
    text = image.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)

    def group(match: re.Match[str]) -> str:
        if match[1] == LEGEND:
            return f'<g class="{LEGEND}">'
        title, colour = (groups or {}).get(match[1], ("", ""))
        if not title:
            return "<g>"
        return f'<g class="stay" style="--other: {colour}"><title>{html.escape(title)}</title>'

    text = re.sub(r'<g id="([^"]*)">', group, text)
    text = re.sub(r"<[^>]*>", _themed, text)  # only in tags: text stays as it is
    text = text.replace("; stroke: var(--paper); stroke-width: 0.4", "")
    return re.sub(r"\n\s*", "\n", text)


def _themed(tag: re.Match[str]) -> str:
    text = re.sub(
        r' fill="(#\w+)"', r' style="fill: \1"', tag[0]
    )  # variables do not work in attributes
    for plain, themed in THEMED.items():
        text = text.replace(f": {plain}", f": {themed}")
    text = re.sub(r" font-family: [^;\"]*;", "", text)  # the page's
    text = re.sub(r"; stroke-(line(join|cap)): (miter|square)", "", text)
    text = re.sub(r"(\d\.\d)\d+(?=[ \n)\",])", r"\1", text)
    # A point that rounding moves onto the one before adds nothing.
    text = re.sub(r"\s*(\n?L [-\d.]+ [-\d.]+)\s*(?=\1\s)", "", text)
    return re.sub(r"\s*\n(?=[LMz])|\n(?=\")", "", text)
