"""Conditionals become one schedule, and copies to the host a step of their own."""

from mallocgame.xla.read.graph import build_graph
from mallocgame.xla.read.hlo import parse_module
from mallocgame.xla.read.schedule import flat_names
from mallocgame.xla.read.wellformed import check_module

A = "f32[256,128]{1,0:T(8,128)}"
H = "f32[256,128]{1,0:T(8,128)S(5)}"
CONDITIONAL = f"""HloModule m, is_scheduled=true

%left (p: (f32[256,128])) -> (f32[256,128]) {{
  %p = ({A}) parameter(0)
  %x.1 = {A} get-tuple-element(%p), index=0
  %one = {A} negate(%x.1)
  ROOT %r.1 = ({A}) tuple(%one)
}}

%right (q: (f32[256,128])) -> (f32[256,128]) {{
  %q = ({A}) parameter(0)
  %x.2 = {A} get-tuple-element(%q), index=0
  %two = {A} tanh(%x.2)
  ROOT %r.2 = ({A}) tuple(%two)
}}

ENTRY %main (flag: s32[], x: f32[256,128]) -> f32[256,128] {{
  %flag = s32[] parameter(0)
  %x = {A} parameter(1)
  %t = ({A}) tuple(%x)
  %c = ({A}) conditional(%flag, %t, %t), branch_computations={{%left, %right}}
  %y = {A} get-tuple-element(%c), index=0
  ROOT %z = {A} negate(%y)
}}
"""
OFFLOAD = f"""HloModule m, is_scheduled=true

ENTRY %main (x: f32[256,128]) -> f32[256,128] {{
  %x = {A} parameter(0)
  %out = ({H}, {A}, u32[]{{:S(2)}}) copy-start(%x)
  %kept = {H} copy-done(%out)
  %y = {A} negate(%x)
  %back = ({A}, {H}, u32[]{{:S(2)}}) copy-start(%kept)
  %again = {A} copy-done(%back)
  ROOT %z = {A} add(%y, %again)
}}
"""


def graph_of(text: str):
    module = parse_module(text, "m")
    check_module(module, "m")
    return module, build_graph(module, "m")


def test_branches_follow_each_other_and_make_one_value():
    module, graph = graph_of(CONDITIONAL)
    assert [step.name for step in graph.steps] == ["one", "two", "z"]
    assert [step.share for step in graph.steps] == [0.5, 0.5, 1.0]
    value = {name: graph.find(graph.positions[name][()]) for name in ("one", "two", "y", "x")}
    assert value["one"] == value["two"] == value["y"] != value["x"]
    assert [[w.defines for w in step.writes] for step in graph.steps] == [[True], [False], [True]]
    names = list(flat_names(module))
    assert names.index("r.1") < names.index("q") < names.index("c")
    assert module.shares() == {"main": 1.0, "left": 0.5, "right": 0.5}


def test_a_value_on_the_host_is_another_value():
    _, graph = graph_of(OFFLOAD)
    assert [step.name for step in graph.steps] == ["out", "y", "back", "z"]
    place = {n: graph.find(graph.positions[n][()]) for n in ("x", "kept", "again")}
    assert len(set(place.values())) == 3
    assert graph.values[place["kept"]].shape.memory_space == 5
    moved = [sum(read.bytes for read in step.reads) for step in graph.steps]
    assert moved[0] == 256 * 128 * 4 and moved[3] == 2 * 256 * 128 * 4
