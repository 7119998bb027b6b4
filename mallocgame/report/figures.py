"""Figures in one style, as files and as markup for the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

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
# Ids: of a legend, which the page hides when it shows the other colours; of the residencies.
LEGEND, STAYS = "legend", "stays"
DPI = 150
SVG_TAG = re.compile(r"<svg[^>]*>")
# Colours that stay distinct in greyscale and for the colour-blind (Paul Tol's "bright", "muted").
PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#882255", "#999933",
    "#44aa99", "#117733", "#332288", "#ddaa77",
)  # fmt: skip


def styled() -> Any:
    """The context in which figures must be made and written."""
    return matplotlib.rc_context(STYLE)


def svg_of(figure: Figure) -> bytes:
    """The figure as SVG, the same every time."""
    image = io.BytesIO()
    figure.savefig(image, format="svg", metadata={"Date": None})
    return image.getvalue()


def write_figure(figure: Figure, stem: Path | None) -> bytes:
    """The figure as SVG; also writes `stem`.svg and `stem`.png if a stem is given."""
    image = svg_of(figure)
    figure.set_layout_engine("none")  # it is laid out now
    if stem is not None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_name(stem.name + ".svg").write_bytes(image)
        figure.savefig(stem.with_name(stem.name + ".png"), dpi=DPI)
    return image


def write_side_by_side(images: Sequence[bytes], figures: Sequence[Figure], stem: Path) -> None:
    """Writes figures of one size as one picture, `stem`.svg and `stem`.png.

    images: the figures as SVG.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    width, height = (72 * inches for inches in figures[0].get_size_inches())
    parts = [
        SVG_TAG.sub(f'<svg x="{i * width:g}" width="{width:g}" height="{height:g}" '
                    f'viewBox="0 0 {width:g} {height:g}">', _plain(image), count=1)
        for i, image in enumerate(images)
    ]  # fmt: skip
    total = len(images) * width
    whole = (
        '<?xml version="1.0" encoding="utf-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" width="{total:g}pt" height="{height:g}pt" '
        f'viewBox="0 0 {total:g} {height:g}">\n{"".join(parts)}</svg>\n'
    )
    stem.with_name(stem.name + ".svg").write_text(whole, encoding="utf-8")
    pixels = [_pixels(figure) for figure in figures]
    imsave(stem.with_name(stem.name + ".png"), np.concatenate(pixels, axis=1), dpi=DPI)


def _pixels(figure: Figure) -> np.ndarray:
    """The figure as RGB: uint8 [height, width, 3]."""
    canvas = FigureCanvasAgg(figure)
    before, figure.dpi = figure.dpi, DPI
    canvas.draw()
    figure.dpi = before
    return np.asarray(canvas.buffer_rgba())[:, :, :3]


def _plain(image: bytes) -> str:
    """SVG from its first tag on, without metadata, comments and the ids of groups."""
    text = image.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r'<g id="[^"]*">', "<g>", text)


def embedded(image: bytes, stays: Sequence[tuple[str, str]] = ()) -> str:
    """SVG as markup for the page: small, without a preamble, in the page's own ink and paper.

    stays: for each path of the group `STAYS`, the text shown when the pointer is over it, and its
      other colour (see `style.STYLE`, which also gives it its outline).  Ids of groups are removed,
      because a page holds many figures.
    """
    text = image.decode().replace(f'<g id="{LEGEND}">', f'<g class="{LEGEND}">')
    before, found, after = text.partition(f'<g id="{STAYS}">')
    if found:
        paths, end, after = after.partition("</g>")
        text = f"{before}<g>{_titled(paths, stays)}{end}{after}"
    text = re.sub(r"<[^>]*>", _themed, _plain(text.encode()))  # only in tags: text stays as it is
    text = text.replace("; stroke: var(--paper); stroke-width: 0.4", "")
    return re.sub(r"\n\s*", "\n", text)


def _titled(paths: str, stays: Sequence[tuple[str, str]]) -> str:
    """Paths, each in a group with its text and its other colour."""
    rows = zip(re.findall(r"<path[^>]*/>", paths), stays, strict=True)
    return "".join(
        f'<g class="stay" style="--other: {colour}"><title>{html.escape(title)}</title>{path}</g>'
        for path, (title, colour) in rows
    )


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
