"""Files of the game of cores: where the tests find Stream's, and ones of our own."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from games.cores.problem import save_problem
from games.cores.problem.schedule import save_schedule
from games.cores.synthetic.chains import Branches, chain_problem

STREAM = Path(os.environ.get("MALLOCGAME_STREAM", ""))
needs_stream = pytest.mark.skipif(
    "MALLOCGAME_STREAM" not in os.environ,
    reason="MALLOCGAME_STREAM names no folder of Stream's machines and workloads",
)
CORES = chain_problem("chain", Branches(2, 2), 2, [(4000, 1000.0)])
CORE = """name: {name}
memories:
  small: {{size: 8, r_cost: 1, w_cost: 1, ports: [{{bandwidth_max: 8}}]}}
  sram: {{size: {bits}, r_cost: 32, w_cost: 64, ports: [{{bandwidth_max: 32}}]}}
operational_array: {{unit_energy: 0.5, sizes: [4, 8]}}
"""
MACHINE = """name: two
cores: {0: a.yaml, 1: b.yaml, 2: dram.yaml}
offchip_core_id: 2
core_connectivity:
- {type: link, cores: [0, 1], bandwidth: 16}
- {type: bus, cores: [0, 1, 2], bandwidth: 64}
"""
WORKLOAD = """- id: 0
  operator_type: Conv
  loop_dims: [B, K, C, OY, OX, FY, FX]
  loop_sizes: [1, 8, 3, 4, 4, 3, 3]
  dimension_relations: [ix=1*ox+1*fx, iy=1*oy+1*fy]
  operand_precision: {W: 8, I: 8, O: 16, O_final: 8}
  operand_source: {I: 0, W: 0}
- id: 1
  operator_type: Add
  loop_dims: [B, G, OY, OX]
  loop_sizes: [1, 8, 4, 4]
  operand_precision: {W: 8, I: 8, O: 16, O_final: 8}
  operand_source: {I: 0, W: 0}
"""
# In the form of Stream's: a machine with its cores, and a workload.
STREAM_FILES = {"machine.yaml": MACHINE, "work.yaml": WORKLOAD} | {
    f"{name}.yaml": CORE.format(name=name, bits=100_000) for name in ("a", "b", "dram")
}


def cores_problem_record() -> dict[str, Any]:
    """The content of the file of `CORES`."""
    with tempfile.TemporaryDirectory() as folder:
        save_problem(CORES, path := Path(folder, "p.json"))
        return json.loads(path.read_text())


def cores_schedule_record() -> dict[str, Any]:
    """The content of the file of its reference schedule."""
    with tempfile.TemporaryDirectory() as folder:
        save_schedule(CORES.naive.schedule, path := Path(folder, "s.json"))
        return json.loads(path.read_text())
