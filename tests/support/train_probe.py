"""Trains on a small game: `python train_probe.py RUN ITERATIONS [SECTIONS]`, for tests.

SECTIONS is JSON that updates the sections of the small configuration.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from agent.run.hosts import connect, make_mesh
from agent.run.loop import train
from gamekit.probe import DOMAIN, delayed, together
from tests.support.agent_setup import PROBE, small_config


def main() -> None:
    sections: dict[str, Any] = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    where = {"checkpoint_every": 5, "devices": 2} | sections.pop("train", {})
    config = small_config(train=where | {"iterations": int(sys.argv[2])}, **sections)
    connect(config.train)
    mesh = make_mesh(config)
    train(config, DOMAIN, together(delayed()), Path(sys.argv[1]), mesh, PROBE)


if __name__ == "__main__":
    main()
