"""Which positions of a module are one value: donations, branches, updates in place."""

from __future__ import annotations

import pytest

from mallocgame.xla.read.graph import build_graph
from mallocgame.xla.read.hlo import parse_module
from mallocgame.xla.read.values import Graph
from mallocgame.xla.read.wellformed import check_module
from tests.support.xla_sample import COMPUTATIONS, A, N

HEADER = "HloModule m, is_scheduled=true"


def graph_of(text: str) -> Graph:
    module = parse_module(text, "m")
    check_module(module, "m")
    return build_graph(module, "m")


def value(graph: Graph, name: str) -> int:
    """The value of an array's position, under its last name."""
    return graph.find(graph.positions[name][()])


def with_branches(left: str, right: str, operand: str = "%t") -> str:
    """A conditional of two branches, which get x and another tuple."""
    return f"""{HEADER}

%left (p: (f32[256,128])) -> (f32[256,128]) {{
  %p = ({A}) parameter(0)
  %x.1 = {A} get-tuple-element(%p), index=0
  %one = {A} negate(%x.1)
  ROOT %r.1 = ({A}) tuple({left})
}}

%right (q: (f32[256,128])) -> (f32[256,128]) {{
  %q = ({A}) parameter(0)
  %x.2 = {A} get-tuple-element(%q), index=0
  %two = {A} tanh(%x.2)
  ROOT %r.2 = ({A}) tuple({right})
}}

ENTRY %main (flag: s32[], x: f32[256,128], w: f32[256,128]) -> f32[256,128] {{
  %flag = s32[] parameter(0)
  %x = {A} parameter(1)
  %w = {A} parameter(2)
  %t = ({A}) tuple(%x)
  %u = ({A}) tuple(%w)
  %c = ({A}) conditional(%flag, %t, {operand}), branch_computations={{%left, %right}}
  %y = {A} get-tuple-element(%c), index=0
  ROOT %z = {A} add(%y, %w)
}}
"""


@pytest.mark.parametrize(
    ("left", "right", "made"), [("%one", "%x.2", "one"), ("%x.1", "%two", "two")]
)
def test_a_branch_updates_what_another_one_hands_through(left: str, right: str, made: str) -> None:
    graph = graph_of(with_branches(left, right))
    assert value(graph, made) == value(graph, "y") == value(graph, "x") != value(graph, "w")
    (step,) = [step for step in graph.steps if step.name == made]
    assert [write.defines for write in step.writes] == [False]


def test_two_values_that_branches_hand_through_stay_two() -> None:
    graph = graph_of(with_branches("%x.1", "%x.2", "%u"))
    assert value(graph, "y") == value(graph, "x") != value(graph, "w")


def donated(body: str, alias: str = "{0}: (1, {}, may-alias)") -> Graph:
    """A module that gets w and x, and is given x for an output."""
    return graph_of(f"""{HEADER}, input_output_alias={{ {alias} }}
{COMPUTATIONS}
ENTRY %main (w: f32[256,128], x: f32[256,128]) -> (f32[256,128]) {{
  %w = {A} parameter(0)
  %x = {A} parameter(1)
{body}
}}
""")


def test_what_overwrites_a_donated_parameter_is_an_output() -> None:
    graph = donated(f"""  %y = {A} fusion(%w, %x), kind=kLoop, calls=%mix
  ROOT %r = ({A}) tuple(%y)""")
    assert value(graph, "y") == value(graph, "x") and graph.values[value(graph, "x")].is_output
    assert not graph.values[value(graph, "w")].is_output


@pytest.mark.parametrize("late", ["%y, %x", "%x, %y"])
def test_a_donated_parameter_that_is_read_later_is_kept(late: str) -> None:
    graph = donated(f"""  %y = {A} fusion(%w, %x), kind=kLoop, calls=%mix
  %z = {A} fusion({late}), kind=kLoop, calls=%mix
  ROOT %r = ({A}, {A}) tuple(%y, %z)""")
    assert value(graph, "y") != value(graph, "x")


@pytest.mark.parametrize("alias", ["{7}: (1, {}, may-alias)", "{0}: (9, {}, may-alias)"])
def test_a_donation_of_what_is_not_there_is_left_out(alias: str) -> None:
    body = f"  %y = {A} fusion(%x), kind=kLoop, calls=%double"
    graph = donated(f"{body}\n  ROOT %r = ({A}) tuple(%y)", alias)
    assert value(graph, "y") != value(graph, "x")


def test_reads_under_a_later_name_are_reads() -> None:
    """The loop overwrites x, and z what the loop made of it: all are one buffer."""
    graph = graph_of(f"""{HEADER}, input_output_alias={{ {{0}}: (0, {{}}, may-alias) }}
{COMPUTATIONS}
%body (arg: (s32[], f32[256,128])) -> (s32[], f32[256,128]) {{
  %one = {N} constant(1)
  %arg = ({N}, {A}) parameter(0)
  %i = {N} get-tuple-element(%arg), index=0
  %h = {A} get-tuple-element(%arg), index=1
  %next = {A} fusion(%h), kind=kLoop, calls=%double
  %inc = {N} add(%i, %one)
  ROOT %out = ({N}, {A}) tuple(%inc, %next)
}}

%cond (arg.c: (s32[], f32[256,128])) -> pred[] {{
  %limit = {N} constant(4)
  %arg.c = ({N}, {A}) parameter(0)
  %i.c = {N} get-tuple-element(%arg.c), index=0
  ROOT %lt = pred[]{{:T(512)}} compare(%i.c, %limit), direction=LT
}}

ENTRY %main (x: f32[256,128]) -> (f32[256,128]) {{
  %zero = {N} constant(0)
  %x = {A} parameter(0)
  %init = ({N}, {A}) tuple(%zero, %x)
  %loop = ({N}, {A}) while(%init), condition=%cond, body=%body
  %h.out = {A} get-tuple-element(%loop), index=1
  %z = {A} fusion(%h.out), kind=kLoop, calls=%double
  ROOT %result = ({A}) tuple(%z)
}}
""")
    assert value(graph, "next") == value(graph, "x") == value(graph, "z")
    assert graph.values[value(graph, "x")].is_output


def test_an_update_in_place_of_another_size_makes_a_value() -> None:
    half = "bf16[256,128]{1,0:T(8,128)(2,1)}"
    alias = "output_to_operand_aliasing={{}: (0, {})}"
    for shape, same in ((A, True), (half, False)):
        graph = graph_of(f"""{HEADER}

ENTRY %main (x: f32[256,128]) -> f32[256,128] {{
  %x = {A} parameter(0)
  ROOT %y = {shape} custom-call(%x), custom_call_target="f", {alias}
}}
""")
        assert (value(graph, "y") == value(graph, "x")) is same
        assert graph.steps[-1].writes[0].defines is not same


def test_of_several_aliases_each_output_has_its_own() -> None:
    alias = "output_to_operand_aliasing={{0}: (1, {}), {1}: (0, {})}"
    graph = graph_of(f"""{HEADER}

ENTRY %main (x: f32[256,128], w: f32[256,128]) -> (f32[256,128], f32[256,128]) {{
  %x = {A} parameter(0)
  %w = {A} parameter(1)
  %c = ({A}, {A}) custom-call(%x, %w), custom_call_target="f", {alias}
  %y = {A} get-tuple-element(%c), index=0
  %z = {A} get-tuple-element(%c), index=1
  ROOT %r = ({A}, {A}) tuple(%y, %z)
}}
""")
    assert (value(graph, "y"), value(graph, "z")) == (value(graph, "w"), value(graph, "x"))
