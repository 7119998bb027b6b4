"""A small dump folder, written by hand: a loop, an update in place, a prefetch, an eviction."""

from __future__ import annotations

import copy
import dataclasses
import gzip
from pathlib import Path

from mallocgame.program import Program
from mallocgame.xla.steer.followed import Placement
from mallocgame.xla.steer.roundtrip import STABLEHLO

A = "f32[256,128]{1,0:T(8,128)}"  # 131,072 bytes
S = "f32[4,256,128]{2,1,0:T(8,128)}"  # 524,288 bytes
N = "s32[]{:T(128)}"
CARRY = f"({N}, {A}, {S}, {A})"

COMPUTATIONS = f"""
%double (p.0: f32[256,128]) -> f32[256,128] {{
  %p.0 = {A} parameter(0)
  ROOT %m = {A} multiply(%p.0, %p.0)
}}

%mix (q.0: f32[256,128], q.1: f32[256,128]) -> f32[256,128] {{
  %q.0 = {A} parameter(0)
  %q.1 = {A} parameter(1)
  ROOT %s = {A} add(%q.0, %q.1)
}}

%update (r.0: f32[4,256,128], r.1: f32[256,128], r.2: s32[]) -> f32[4,256,128] {{
  %r.0 = {S} parameter(0)
  %r.1 = {A} parameter(1)
  %r.2 = {N} parameter(2)
  %one.1 = f32[1,256,128]{{2,1,0:T(8,128)}} bitcast(%r.1)
  %z = {N} constant(0)
  ROOT %dus = {S} dynamic-update-slice(%r.0, %one.1, %r.2, %z, %z)
}}
"""


def _cycles(number: int) -> str:
    return f'backend_config={{"window_config":{{"estimated_cycles":"{number}"}}}}'


def _module(entry: str, body: str) -> str:
    return f"""HloModule sample, is_scheduled=true
{COMPUTATIONS}
%body (arg: (s32[], f32[256,128], f32[4,256,128], f32[256,128])) -> (s32[]) {{
  %one = {N} constant(1)
  %arg = {CARRY} parameter(0)
  %i = {N} get-tuple-element(%arg), index=0
  %h = {A} get-tuple-element(%arg), index=1
  %cache = {S} get-tuple-element(%arg), index=2
  %wl = {A} get-tuple-element(%arg), index=3
{body}
  %inc = {N} add(%i, %one)
  ROOT %out = {CARRY} tuple(%inc, %next, %stack, /*index=3*/%wl)
}}

%cond (arg.c: (s32[], f32[256,128], f32[4,256,128], f32[256,128])) -> pred[] {{
  %limit = {N} constant(4)
  %arg.c = {CARRY} parameter(0)
  %i.c = {N} get-tuple-element(%arg.c), index=0
  ROOT %lt = pred[]{{:T(512)}} compare(%i.c, %limit), direction=LT
}}

ENTRY %main (w: f32[256,128], x: f32[256,128]) -> (f32[256,128], f32[4,256,128]) {{
  %zero = {N} constant(0)
  %w = {A} parameter(0)
  %x = {A} parameter(1)
  %count = {N} copy(%zero)
  %cache.0 = {S} custom-call(), custom_call_target="AllocateBuffer"
{entry}
  %init = {CARRY} tuple(%count, %c, %cache.0, %w)
  %loop = {CARRY} while(%init), condition=%cond, body=%body
  %h.out = {A} get-tuple-element(%loop), index=1
  %stack.out = {S} get-tuple-element(%loop), index=2
  ROOT %result = ({A}, {S}) tuple(%h.out, %stack.out)
}}
"""


F = A.replace("T(8,128)", "T(8,128)S(3)")

OFF = _module(
    f"""  %a = {A} fusion(%x), kind=kLoop, calls=%double, {_cycles(1000)}
  %b = {A} fusion(%a, %w), kind=kLoop, calls=%mix, {_cycles(2000)}
  %c = {A} fusion(%a, %b), kind=kLoop, calls=%mix, {_cycles(1500)}""",
    f"""  %t = {A} fusion(%h, %wl), kind=kLoop, calls=%mix, {_cycles(3000)}
  %stack = {S} fusion(%cache, %t, %i), kind=kLoop, calls=%update, {_cycles(500)}
  %next = {A} fusion(%t), kind=kLoop, calls=%double, {_cycles(700)}""",
)
ON = _module(
    f"""  %copy-start = ({F}, {A}, u32[]{{:S(2)}}) copy-start(%w)
  %a = {F} fusion(%x), kind=kLoop, calls=%double, {_cycles(800)}
  %copy-start.1 = ({A}, {F}, u32[]{{:S(2)}}) copy-start(%a)
  %copy-done = {F} copy-done(%copy-start)
  %b = {F} fusion(%a, %copy-done), kind=kLoop, calls=%mix, {_cycles(900)}
  %copy-done.1 = {A} copy-done(%copy-start.1)
  %c = {A} fusion(%copy-done.1, %b), kind=kLoop, calls=%mix, {_cycles(1200)}""",
    f"""  %t = {F} fusion(%h, %wl), kind=kLoop, calls=%mix, {_cycles(2500)}
  %stack = {S} fusion(%cache, %t, %i), kind=kLoop, calls=%update, {_cycles(450)}
  %next = {A} fusion(%t), kind=kLoop, calls=%double, {_cycles(600)}""",
)

# fmt: off
SCHEDULE = (
    "zero", "w", "x", "count", "cache.0", "a", "b", "c", "init", "limit", "arg.c", "i.c", "lt",
    "one", "arg", "i", "h", "cache", "wl", "t", "stack", "next", "inc", "out", "loop", "h.out",
    "stack.out", "result",
)
# fmt: on

BUFFERS = """\
buffer_id,buffer_name,alt_mem_benefit,size,definition_time,use_times,use_names,is_scoped
10,"<1 a>",2e-08,131072,5,"6;7","b, operand 0;c, operand 0",0
11,"<2 w>",1e-08,131072,1,"6;19","b, operand 1;t, operand 1",0
12,"<3 b>",1e-08,131072,6,"7","c, operand 1",0
13,"<4 t>",1e-08,131072,19,"20;21","stack, operand 1;next, operand 0",0
14,"<5 c>",1e-09,131072,7,"8","init, operand 1",0
15,"<6 cache.0>",1e-09,524288,4,"8","init, operand 2",0
10,"<1 a>",2e-08,131072,5,"6;7","b, operand 0;c, operand 0",0
"""

ALLOCATIONS = """\
buffer_id,size,offset,start_time,end_time
10,131072,0,5,7
11,131072,131072,5,6
12,131072,262144,6,7
13,131072,0,19,21
"""


def files() -> dict[str, str]:
    """Text of every file of the dump, by name."""
    rows = "".join(f"{time},{name}\n" for time, name in enumerate(SCHEDULE))
    return {
        "msa_off.hlo.gz": OFF,
        "msa_on.hlo.gz": ON,
        "bufferinfo.csv": BUFFERS,
        "allocinfo.csv": ALLOCATIONS,
        "scheduleinfo.csv": "time,instruction_name\n" + rows,
    }


def write_dump(folder: Path, texts: dict[str, str] | None = None) -> Path:
    """Writes the dump (or altered texts of it) and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (texts or files()).items():
        raw = text.encode()
        (folder / name).write_bytes(gzip.compress(raw, mtime=0) if name.endswith(".gz") else raw)
    return folder


def write_work(folder: Path) -> Path:
    """Writes the dump with an empty module beside it, as a folder of compiles has it."""
    write_dump(folder)
    (folder / STABLEHLO).write_text("module {}")
    return folder


def without_compile(program: Program, placement: Placement) -> Program:
    """The program as if the compile with this placement had never been seen; all slow remains."""
    facts = copy.deepcopy(program.provenance["calibration"])
    for slot, mask in enumerate(placement_masks(program, placement)):
        if mask and mask in facts["seen"][slot]:
            at = facts["seen"][slot].index(mask)
            del facts["seen"][slot][at], facts["cycles"][slot][at]
    return dataclasses.replace(program, provenance={**program.provenance, "calibration": facts})


def placement_masks(program: Program, placement: Placement) -> list[int]:
    """Of each instruction its accesses in fast memory, bit i for the i-th."""
    found = [0] * len(program.instructions)
    place = [0] * len(program.instructions)
    for access, is_fast in zip(program.accesses, placement.in_fast, strict=True):
        found[access.instruction] |= int(is_fast) << place[access.instruction]
        place[access.instruction] += 1
    return found
