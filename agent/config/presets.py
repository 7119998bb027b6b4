"""Sizes of the agent by name; a configuration's own keys have precedence."""

from __future__ import annotations

from typing import Any

# `tiny` is an MLP over the plain observation.  `small` and `large` read the rich one part by part;
# `large` is meant for an accelerator.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "game": {"observation": "plain"},
        "network": {"encoder": "flat", "latent": 128, "hidden": 128, "representation_blocks": 2},
    },
    "small": {
        "game": {"observation": "rich"},
        "network": {
            "encoder": "parts",
            "latent": 128,
            "hidden": 128,
            "representation_blocks": 2,
            "channels": 32,
            "tower_blocks": 2,
            "width": 32,
            "heads": 2,
            "attention_layers": 1,
        },
    },
    "large": {
        "game": {"observation": "rich"},
        "network": {
            "encoder": "parts",
            "latent": 256,
            "hidden": 512,
            "representation_blocks": 4,
            "channels": 96,
            "tower_blocks": 6,
            "width": 128,
            "heads": 4,
            "attention_layers": 4,
        },
    },
}
