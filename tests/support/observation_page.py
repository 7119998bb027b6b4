"""What a game's page must say of its observations."""

import re
from collections.abc import Mapping, Sequence

from gamekit.observation import ObservationSpec


def check_observations(
    page: str, spec: ObservationSpec, names: Mapping[str, Sequence[str]]
) -> None:
    """The section "Observations" lists the parts with their shapes, and a table of each names its
    features; names: of each part's features."""
    _, _, section = page.partition("\n## Observations\n")
    overview, *of_parts = re.split(r"^### The part `(\w+)`$", section, flags=re.M)
    tables = dict(zip(of_parts[::2], of_parts[1::2], strict=True))
    assert list(tables) == list(names) == [part.name for part in spec.parts]
    for part in spec.parts:
        shape = " x ".join(map(str, part.shape))
        assert f"| `{part.name}` | {shape} | {part.kind} |" in overview
        assert re.findall(r"^\| `(\w+)` \|", tables[part.name], re.M) == list(names[part.name])
        assert part.shape[-1] == len(names[part.name])
    assert f"{spec.size} numbers" in overview
