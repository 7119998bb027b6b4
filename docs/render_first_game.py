"""Writes the output of `examples/first_game.py` into the documents that show it.

    python docs/render_first_game.py

Between `<!-- first_game: SECTION -->` and `<!-- end -->` stands a section of the output.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/concepts.md")
BLOCK = re.compile(r"(<!-- first_game: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(text: str, sections: Mapping[str, str]) -> str:
    """A page with its blocks filled."""
    return BLOCK.sub(lambda m: f"{m[1]}```\n{sections[m[2]]}\n```\n{m[3]}", text)


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from examples.first_game import sections

    found = sections()
    for page in PAGES:
        path = ROOT / page
        path.write_text(rendered(path.read_text(), found))


if __name__ == "__main__":
    main()
