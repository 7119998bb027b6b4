"""Names that a program may have and that are no file names, no markup and no terminal's."""

from __future__ import annotations

NAMES = {
    "parent": "../../outside",
    "absolute": "/tmp/outside",
    "backslash": "..\\outside",
    "dots": "..",
    "dot": ".",
    "hidden": ".lock",
    "option": "-rf",
    "empty": "",
    "null": "nul\0byte",
    "escape": "\x1b]0;title\x07\x1b[2J\x1b[31mred",
    "c1": "\x9b2Jgone",
    "newline": "one\nother: line",
    "return": "safe\rerror",
    "right to left": "a\u202eb",
    "markup": "[/] [red]name[/red] [link=file:///]x[/link]",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "markdown": "a | b\n\n# heading [x](y) `z`",
    "surrogate": "lone \ud800 one",
    "long": "n" * 100_000,
    "wide": "\u754c" * 300,
    "mathematics": "$\\frac{1}{0}$ %s {} %(x)s",
}
