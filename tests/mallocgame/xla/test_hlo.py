"""The HLO reader: layouts, aliasing, traffic of fusions, loops."""

import pytest

from gamekit.errors import InputError
from mallocgame.xla.read.graph import build_graph
from mallocgame.xla.read.hlo import HloModule, leaves, parse_module, parse_shape
from mallocgame.xla.read.schedule import flat_names
from mallocgame.xla.read.traffic import read_bytes, write_of
from mallocgame.xla.read.wellformed import check_module
from tests.support.xla_sample import OFF, ON


def module(text: str) -> HloModule:
    parsed = parse_module(text, "sample")
    check_module(parsed, "sample")
    return parsed


@pytest.mark.parametrize(
    ("shape", "size"),
    [  # sizes as a TPU v4 compiler reports them for these layouts
        ("f32[8]{0:T(128)}", 512),
        ("bf16[8]{0:T(256)(128)(2,1)}", 512),
        ("bf16[4096]{0:T(1024)(128)(2,1)}", 8192),
        ("pred[1024]{0:T(1024)(128)(4,1)}", 1024),
        ("bf16[8,1024,12]{1,2,0:T(8,128)(2,1)}", 262144),
        ("f32[8,8,8,256,1]{3,2,1,4,0:T(8,128)}", 524288),
        ("bf16[8,8,256,1]{2,1,3,0:T(8,128)(2,1)S(3)}", 32768),
        ("bf16[64,128,1024]{2,1,0:T(8,128)(2,1)}", 16777216),
        ("f32[]", 4),
        ("bf16[0,128]{1,0:T(8,128)(2,1)}", 0),
    ],
)
def test_tiled_sizes(shape: str, size: int) -> None:
    parsed, end = parse_shape(shape)
    assert end == len(shape)
    assert sum(array.size_bytes for _, array in leaves(parsed)) == size


def test_nested_tuple_leaves() -> None:
    parsed, _ = parse_shape("((f32[2]{0}, s32[]), bf16[4]{0:T(128)S(3)})")
    found = {index: array.dtype for index, array in leaves(parsed)}
    assert found == {(0, 0): "f32", (0, 1): "s32", (1,): "bf16"}
    assert dict(leaves(parsed))[(1,)].memory_space == 3


@pytest.mark.parametrize(
    "shape", ["f32", "q7[2]", "f32[2]{1}", "f32[2,3]{0,0}", "(f32[2]", "f32[2]{0:T(0)}"]
)
def test_bad_shapes(shape: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_shape(shape)


def test_flat_order_puts_condition_and_body_before_the_while() -> None:
    names = list(flat_names(module(OFF)))
    assert names.index("lt") < names.index("one") < names.index("out") < names.index("loop")


def test_update_fusion_reads_nothing_of_the_stack_and_writes_the_slice() -> None:
    parsed = module(OFF)
    body = parsed.computations["body"]
    assert read_bytes(parsed, body, "stack", 0) == 0
    assert read_bytes(parsed, body, "stack", 1) == 131072
    assert write_of(parsed, body, "stack", ()) == (131072, 0)
    assert write_of(parsed, body, "t", ()) == (131072, None)


def test_slicing_fusion_reads_the_slice() -> None:
    text = OFF.replace(
        "ROOT %m = f32[256,128]{1,0:T(8,128)} multiply(%p.0, %p.0)",
        "%k = s32[] constant(0)\n  %d = f32[8,128]{1,0:T(8,128)} dynamic-slice(%p.0, %k, %k)\n"
        "  ROOT %m = f32[256,128]{1,0:T(8,128)} broadcast(%d), dimensions={}",
    )
    parsed = module(text)
    assert read_bytes(parsed, parsed.computations["main"], "a", 0) == 8 * 128 * 4


def test_values_loops_and_carries() -> None:
    graph = build_graph(module(OFF), "sample")
    (loop,) = graph.loops
    assert loop.trip_count == 4
    names = [(graph.values[p].name, graph.values[r].name) for p, r in loop.carries]
    assert ("c", "next") in names and ("cache.0", "stack") not in names
    stacked = graph.find(graph.positions["stack"][()])
    assert stacked == graph.find(graph.positions["cache.0"][()])
    outputs = {graph.values[v].name for v in range(len(graph.values)) if graph.values[v].is_output}
    assert outputs == {"cache.0", "next"}


def test_result_that_overwrites_its_parameter_is_one_value() -> None:
    text = OFF.replace("%next = f32[256,128]{1,0:T(8,128)} fusion(%t)", "%next = X fusion(%h)")
    graph = build_graph(module(text.replace("= X", "= f32[256,128]{1,0:T(8,128)}")), "sample")
    assert all(graph.values[r].name != "next" for _, r in graph.loops[0].carries)
    assert graph.find(graph.positions["next"][()]) == graph.find(graph.positions["c"][()])
    step = next(s for s in graph.steps if s.name == "next")
    assert not step.writes[0].defines


def test_donated_parameter_and_its_update_are_one_value() -> None:
    header = "HloModule sample, is_scheduled=true"
    donated = header + ", input_output_alias={ {0}: (1, {}, may-alias) }"
    text = f"""{donated}
{OFF.split(header)[1].split("%body")[0]}
ENTRY %main (w: f32[256,128], x: f32[256,128]) -> (f32[256,128]) {{
  %w = f32[256,128]{{1,0:T(8,128)}} parameter(0)
  %x = f32[256,128]{{1,0:T(8,128)}} parameter(1)
  %y = f32[256,128]{{1,0:T(8,128)}} fusion(%w, %x), kind=kLoop, calls=%mix
  ROOT %r = (f32[256,128]{{1,0:T(8,128)}}) tuple(%y)
}}
"""
    graph = build_graph(module(text), "sample")
    assert graph.find(graph.positions["y"][()]) == graph.find(graph.positions["x"][()])


def test_copies_are_views() -> None:
    graph = build_graph(module(ON), "sample")
    assert graph.positions["copy-done"][()] == graph.positions["w"][()]
    assert graph.positions["copy-done.1"][()] == graph.positions["a"][()]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HloModule", "Module", "HloModule"),
        ("ENTRY %main", "%main", "ENTRY"),
        ("index=3\n", "index=9\n", "index"),
        ("calls=%double", "calls=%nothing", "nothing"),
        ("fusion(%a, %w)", "fusion(%a, %q)", "operand q"),
        ("fusion(%a, %w)", "fusion(%a)", "arguments"),
        ("parameter(1)\n", "parameter(0)\n", "parameter"),
        ("ROOT %out", "%out", "ROOT"),
        ('"1000"', '"1e3"', "estimated_cycles"),
    ],
)
def test_errors_name_file_and_place(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build_graph(module(OFF.replace(old, new)), "sample")
    assert str(caught.value).startswith("sample: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("direction=LT", "direction=GT"),
        ("constant(4)", "constant(x)"),
        ("%inc = s32[]{:T(128)} add(%i, %one)", "%inc = s32[]{:T(128)} add(%i, %i)"),
    ],
)
def test_a_count_that_depends_on_data_is_assumed_or_given(old: str, new: str) -> None:
    for given, found in ({}, 5), ({"trips": 9}, 9):
        graph = build_graph(module(OFF.replace(old, new)), "sample", **given)
        assert [loop.trip_count for loop in graph.loops] == [found]
        assert graph.assumed == {"loop": found}
    assert build_graph(module(OFF), "sample").assumed == {}


def test_scatter_updates_its_operand_in_place() -> None:
    text = """HloModule sample, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %s = f32[] add(%a, %b)
}

%scatter (p.0: f32[4096,128], p.1: s32[8,1], p.2: f32[8,128]) -> f32[4096,128] {
  %p.0 = f32[4096,128]{1,0:T(8,128)} parameter(0)
  %p.1 = s32[8,1]{1,0:T(8,128)} parameter(1)
  %p.2 = f32[8,128]{1,0:T(8,128)} parameter(2)
  ROOT %o = f32[4096,128]{1,0:T(8,128)} scatter(%p.0, %p.1, %p.2), to_apply=%add
}

ENTRY %main (x: f32[4096,128], i: s32[8,1], u: f32[8,128]) -> f32[4096,128] {
  %x = f32[4096,128]{1,0:T(8,128)} parameter(0)
  %i = s32[8,1]{1,0:T(8,128)} parameter(1)
  %u = f32[8,128]{1,0:T(8,128)} parameter(2)
  ROOT %y = f32[4096,128]{1,0:T(8,128)} fusion(%x, %i, %u), kind=kCustom, calls=%scatter
}
"""
    parsed = module(text)
    entry = parsed.computations["main"]
    assert write_of(parsed, entry, "y", ()) == (8 * 128 * 4, 0)
    assert read_bytes(parsed, entry, "y", 0) == 0
    graph = build_graph(parsed, "sample")
    assert graph.positions["y"][()] == graph.positions["x"][()]
    assert not graph.steps[-1].writes[0].defines
