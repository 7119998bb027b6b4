"""Trains on a small game: `python train_probe.py RUN ITERATIONS`; killed and resumed by tests."""

from __future__ import annotations

import sys
from pathlib import Path

from agent_setup import small_config
from probe_games import delayed

from agent.loop import make_mesh, train

if __name__ == "__main__":
    config = small_config(
        train={"iterations": int(sys.argv[2]), "checkpoint_every": 5, "devices": 2}
    )
    mesh = make_mesh(config)
    train(config, delayed(), Path(sys.argv[1]), mesh, ("probe",))
