"""Compiles one training iteration for TPUs ahead of time; needs libtpu but no TPU.

    python benchmarks/aot.py [--chips v4,v5e] [--config configs/quickstart.yaml] [key.sub=value ...]

Prints one JSON object for each chip: the devices of the smallest slice, over which games and
learner are sharded, and seconds and bytes of the compiled programs. Needs
`pip install 'mallocgame[tpu]'`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import time
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from agent.config import Config, load_config
from agent.learning.learner import make_iteration
from agent.learning.state import AXIS
from gamekit.errors import InputError
from gamekit.registry import load_domain
from mallocgame.xla.compile.compiler import alone, require_libtpu
from mallocgame.xla.read.chips import chip_by_name


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--chips", default="v4,v5e")
    parser.add_argument("--config", default="configs/quickstart.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    options = parser.parse_args()
    try:
        require_libtpu()
        config = load_config(options.config, options.overrides)
        for name in options.chips.split(","):
            chip = chip_by_name(name)
            with alone():
                print(json.dumps({"benchmark": "aot", "chip": name} | _compile(config, chip)))
            sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _compile(config: Config, chip: Any) -> dict[str, Any]:
    topology = topologies.get_topology_desc(platform="tpu", topology_name=chip.topology)
    devices = np.array(topology.devices)
    mesh = Mesh(devices, (AXIS,), axis_types=(AxisType.Auto,))
    domain = load_domain(config.game.name)
    game = domain.build(domain.instances(config.programs), config.game.options)
    iteration = make_iteration(config, game, mesh)
    everywhere = NamedSharding(mesh, PartitionSpec())
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), game
    )
    record: dict[str, Any] = {"topology": chip.topology, "devices": devices.size}
    parts: dict[str, Any] = {"play": iteration.play, "learn": iteration.learn}
    for name, function in parts.items():
        began = time.perf_counter()
        compiled = function.lower(shapes, iteration.abstract_state).compile()
        memory = compiled.memory_analysis()
        record[name] = {
            "compile_s": round(time.perf_counter() - began, 1),
            "temporary_bytes": memory.temp_size_in_bytes,
            "argument_bytes": memory.argument_size_in_bytes,
            "code_bytes": memory.generated_code_size_in_bytes,
        }
    record["versions"] = {p: importlib.metadata.version(p) for p in ("jax", "libtpu")}
    return record


if __name__ == "__main__":
    sys.exit(main())
