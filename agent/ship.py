"""Makes a checkpoint that comes with a game: `python -m agent.ship runs/NAME FOLDER`.

It holds the agent of the run's last checkpoint, without what only training needs, and says who made
it.  `evaluate.py --checkpoint FOLDER` plays with it; in the folder that a game's domain names as
`shipped` it is the agent of every evaluation that names no other.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gamekit.errors import InputError
from gamekit.processes import run_command
from gamekit.text import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(
        prog="agent.ship", description="Makes a checkpoint that comes with a game."
    )
    parser.add_argument("run", help="a training run's folder")
    parser.add_argument("folder", help="for the checkpoint, as mallocgame/checkpoint")
    parser.add_argument("--note", default="", help="what else is worth knowing of the training")
    parser.add_argument("--machine", help="that it was trained on; this one if not given")
    parser.add_argument("--commit", help="of the code that trained it; this code's if not given")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in the folder")
    options = parser.parse_args(arguments)
    return run_command(lambda: ship(options), "error", "stopped")


def ship(options: argparse.Namespace) -> int:
    """Writes the checkpoint as told and prints a line; returns the exit code.

    Raises:
      InputError: the run has no usable checkpoint, or the folder holds one or cannot be written.
    """
    run, folder = Path(options.run), Path(options.folder)
    # Imported here so that a bad option is reported at once.
    from agent.run.checkpoint import load_agent, load_counters
    from agent.run.shipped import ARRAYS, is_shipped, save_shipped

    if is_shipped(folder) and not options.overwrite:
        raise InputError(
            f"{folder}: holds a checkpoint already; choose another folder or say --overwrite"
        )
    loaded = load_agent(run)
    step, counters = load_counters(run)
    provenance: dict[str, Any] = {
        "run": loaded.config.name,
        "command": f"python train.py --config runs/{loaded.config.name}/config.yaml",
        "iterations": step,
        "games": counters.games,
        "moves": counters.moves,
        "instances": len(counters.instances),
        "hours": round(counters.wall_s / 3600, 3),
        "commit": options.commit or _commit(),
        "machine": options.machine or _machine(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "note": options.note,
    }
    save_shipped(folder, loaded, provenance)
    size = (folder / ARRAYS).stat().st_size / 1e6
    say(f"{folder}: {step} iterations, {provenance['hours']:.2f} hours, {size:.1f} MB")
    return 0


def _commit() -> str:
    """Of the checkout that this file is in, "unknown" without one."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        ran = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return ran.stdout.strip()


def _machine() -> str:
    import jax

    device = jax.devices()[0].device_kind
    return f"{platform.machine()}, {os.cpu_count()} cores, {len(jax.devices())} {device}"


if __name__ == "__main__":
    sys.exit(main())
