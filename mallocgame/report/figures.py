"""Figures in one style, as files and as markup for the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.markers import TICKDOWN, TICKUP
from PIL import Image

STYLE: Any = {
    "svg.hashsalt": "mallocgame",
    "svg.fonttype": "none",
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib looks for every font of a longer list
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
# Ids: of a legend, which the page hides when it shows the other colours; of the key of those; of
# the residencies; of a residency's name, before its number.
LEGEND, KEY, STAYS, NAME = "legend", "key", "stays", "name-"
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


def draw_ticks(axes: Axes, places: np.ndarray, length: float, above: bool = False) -> None:
    """Marks on the lower or the upper edge; matplotlib's own ticks are several artists each.

    places: in data coordinates.
    length: points.
    """
    axes.plot(
        places, np.full(len(places), float(above)), transform=axes.get_xaxis_transform(),
        marker=TICKUP if above else TICKDOWN, markersize=length, linestyle="none", clip_on=False,
        markeredgewidth=STYLE["axes.linewidth"], color="#000000", scalex=False, scaley=False,
    )  # fmt: skip


def svg_of(figure: Figure) -> bytes:
    """The figure as SVG, the same every time."""
    image = io.BytesIO()
    figure.savefig(image, format="svg", metadata={"Date": None})
    return image.getvalue()


def write_figure(figure: Figure, stem: Path | None) -> bytes:
    """The figure as SVG; also writes `stem`.svg and `stem`.png if a stem is given."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")  # else saving draws once more, to lay it out
    image = svg_of(figure)
    if stem is not None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_name(stem.name + ".svg").write_bytes(image)
        (pixels,) = pixels_of(figure, (), (lambda: None,))
        _write_png(pixels, stem)
    return image


def write_side_by_side(
    images: Sequence[bytes], pixels: Sequence[np.ndarray], size: tuple[float, float], stem: Path
) -> None:
    """Writes figures of one size as one picture, `stem`.svg and `stem`.png.

    images: the figures as SVG.
    pixels: the figures as RGB, uint8 [height, width, 3].
    size: of a figure, inches.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    width, height = (72 * inches for inches in size)
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
    _write_png(np.concatenate(pixels, axis=1), stem)


def _write_png(pixels: np.ndarray, stem: Path) -> None:
    """RGB as `stem`.png; matplotlib would add that nothing is transparent, and take longer."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.save(stem.with_name(stem.name + ".png"), dpi=(DPI, DPI))


def pixels_of(
    figure: Figure, changing: Sequence[Artist], changes: Sequence[Callable[[], None]]
) -> Iterator[np.ndarray]:
    """The figure as RGB after each of some changes: uint8 [height, width, 3].

    changing: what the changes change, and what lies above it, the lowest first.  Nothing else is
      drawn more than once.
    """
    for artist in changing:
        artist.set_animated(True)  # which the canvas leaves out
    before, figure.dpi = figure.dpi, DPI
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    rest = canvas.copy_from_bbox(figure.bbox)
    for change in changes:
        canvas.restore_region(rest)
        change()
        for artist in changing:
            artist.draw(canvas.get_renderer())
        yield np.array(canvas.buffer_rgba())[:, :, :3]
    figure.dpi = before


def without(image: bytes, name: str) -> bytes:
    """SVG without the group of this id, if it has one."""
    text = image.decode()
    begin = text.find(f'<g id="{name}">')
    if begin < 0:
        return image
    depth = 0
    for tag in re.compile(r"</g>|<g\b[^>]*>").finditer(text, begin):
        if not tag[0].endswith("/>"):
            depth += -1 if tag[0] == "</g>" else 1
        if depth == 0:
            return (text[:begin] + text[tag.end() :]).encode()
    raise AssertionError("matplotlib closes its groups")


def filled(image: bytes, stays: Sequence[tuple[str, str]], inks: dict[int, str]) -> bytes:
    """SVG with paths in the place of the one of the group `STAYS`, and with names coloured.

    stays: data and style of each path.
    inks: the colours of the names with these numbers.
    """
    before, found, after = image.decode().partition(f'<g id="{STAYS}">')
    path, end, after = after.partition("</g>")
    clip = re.search(r'clip-path="[^"]*"', path)
    assert found and clip is not None, "the group is drawn, and clipped"
    rows = "".join(f'<path d="{data}" {clip[0]} style="{style}"/>\n' for data, style in stays)
    after = re.sub(
        rf'(<g id="{NAME}(\d+)">[^>]*>[^>]*fill: )#\w+',
        lambda match: match[1] + inks[int(match[2])], after,
    )  # fmt: skip
    return f"{before}{found}\n{rows}{end}{after}".encode()


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
    text = image.decode()
    for name in (LEGEND, STAYS):
        text = text.replace(f'<g id="{name}">', f'<g class="{name}">')
    text = re.sub(r"<[^/][^>]*>", _themed, _plain(text.encode()))  # only in tags: text stays
    text = text.replace("; stroke: var(--paper); stroke-width: 0.4", "")
    text = re.sub(r"\n\s*", "\n", text)
    before, found, after = text.partition(f'<g class="{STAYS}">')
    if found:
        paths, end, after = after.partition("</g>")
        text = f"{before}<g>{_titled(paths, stays)}{end}{after}"
    return text


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
