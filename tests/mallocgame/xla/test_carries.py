"""What a loop carries: a group where the data model knows one, else one value that is updated."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gamekit.errors import InputError
from mallocgame.program import Loop, Value
from mallocgame.xla.read.carries import join_carries
from mallocgame.xla.read.hlo import ArrayShape, parse_shape
from mallocgame.xla.read.values import Graph, GraphStep, RawLoop, RawRead, RawWrite
from tests.support.handmade import MARKER, Slot, program, value

NO_INSTRUCTION: Any = None


@dataclasses.dataclass(frozen=True)
class Case:
    """A schedule whose first loop carries "p" into "r"."""

    slots: list[Slot]
    loops: tuple[Loop, ...]
    values: dict[str, Value] = dataclasses.field(default_factory=dict)

    def of(self, name: str) -> Value:
        return self.values.get(name, value(8))

    def group(self) -> None:
        """Makes a program with the group, which validates it."""
        values = {name: self.of(name) for name in "pr"}
        program(64, values, self.slots, self.loops, ((0, "p", "r"),))

    def graph(self) -> Graph:
        """The same as a graph, in which value 0 is "p" and value 1 "r"."""
        shape, _ = parse_shape("f32[2]{0}")
        assert isinstance(shape, ArrayShape)
        graph = Graph()
        for name in "pr":
            number = graph.new_value(name, (), shape, self.of(name).is_input)
            graph.values[number].is_output = self.of(name).is_output
        for number, slot in enumerate(self.slots):
            step = GraphStep(f"i{number}", NO_INSTRUCTION)
            step.reads = [RawRead("pr".index(v), 0, 8) for v in slot.reads.split()]
            step.writes = [RawWrite("pr".index(v), (), 8, True) for v in slot.defines.split()]
            step.writes += [RawWrite("pr".index(v), (), 8, False) for v in slot.updates.split()]
            graph.steps.append(step)
        for number, loop in enumerate(self.loops):
            carries = ((0, 1),) if number == 0 else ()
            graph.loops.append(RawLoop(loop.entry, loop.exit, loop.trip_count, carries))
        # Loops come innermost first.
        graph.loops.sort(key=lambda loop: loop.exit - loop.entry)
        return graph


P, R, BOTH = Slot(1.0, defines="p"), Slot(1.0, defines="r"), Slot(1.0, reads="p", defines="r")
READS_P, READS_R = Slot(1.0, reads="p"), Slot(1.0, reads="r")
ONE = (Loop(1, 4, 3),)
ALONE = [P, MARKER, READS_P, R, MARKER, READS_R]
# The loop that carries lies in another one, [0, 7] or [1, 6].
NESTED = [MARKER, P, MARKER, READS_P, R, MARKER, READS_R, MARKER]
CROSSED = [P, MARKER, MARKER, READS_P, R, MARKER, MARKER, READS_R]
GIVEN = [MARKER, MARKER, READS_P, R, MARKER, READS_R, MARKER]
INSIDE, AROUND = (Loop(2, 5, 3), Loop(0, 7, 2)), (Loop(2, 5, 3), Loop(1, 6, 2))
# The result is defined in a loop within the body.
DEEPER = [P, MARKER, READS_P, MARKER, R, MARKER, MARKER, READS_R]
INNER = (Loop(1, 6, 3), Loop(3, 5, 2))
# A loop that is in the body too, but does not define the result; one behind the loop.
BESIDE = (Loop(1, 7, 3), Loop(2, 4, 2), Loop(8, 10, 2))
BESIDE_SLOTS = [P, MARKER, MARKER, Slot(1.0), MARKER, READS_P, R, MARKER, MARKER, READS_R, MARKER]

GROUPS = {
    "as it is": Case(ALONE, ONE),
    "the parameter is an input": Case([MARKER, *ALONE[1:]], ONE, {"p": value(8, is_input=True)}),
    "the result is an output": Case(ALONE, ONE, {"r": value(8, is_output=True)}),
    "all in one loop around": Case(NESTED, INSIDE),
    "other loops": Case(BESIDE_SLOTS, BESIDE),
    "not used in the loop around": Case([P, MARKER, MARKER, R, MARKER, MARKER, READS_R],
                                        (Loop(2, 4, 3), Loop(1, 5, 2))),
}  # fmt: skip
JOINED = {
    "the parameter is an output": Case(ALONE, ONE, {"p": value(8, is_output=True)}),
    "defined in an inner loop": Case(DEEPER, INNER),
    "the parameter crosses a loop": Case(CROSSED, AROUND),
    "an input in a loop around": Case(GIVEN, (Loop(1, 4, 3), Loop(0, 6, 2)),
                                      {"p": value(8, is_input=True)}),
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_that_the_data_model_knows_stays(name: str) -> None:
    case = GROUPS[name]
    case.group()
    graph = case.graph()
    join_carries(graph)
    assert graph.find(0) == 0 and graph.find(1) == 1
    assert sum(w.defines for step in graph.steps for w in step.writes if w.value == 1) == 1


@pytest.mark.parametrize("name", JOINED)
def test_what_it_does_not_know_becomes_one_value_that_is_updated(name: str) -> None:
    case = JOINED[name]
    with pytest.raises(InputError, match=r"carried\[0\]"):
        case.group()
    graph = case.graph()
    join_carries(graph)
    assert graph.find(1) == graph.find(0) == 0
    assert not any(w.defines for step in graph.steps for w in step.writes if w.value == 1)
    # The program of one value is a valid one.
    one = [
        Slot(s.compute, s.reads.replace("r", "p"), s.defines.replace("r", ""),
             s.updates + " p" * s.defines.count("r"))
        for s in case.slots
    ]  # fmt: skip
    program(64, {"p": case.of("p")}, one, case.loops)


def test_an_output_stays_one_when_it_is_joined() -> None:
    case = dataclasses.replace(
        JOINED["defined in an inner loop"], values={"r": value(8, is_output=True)}
    )
    graph = case.graph()
    join_carries(graph)
    assert graph.find(1) == 0 and graph.values[0].is_output


@pytest.mark.parametrize(
    "slots",
    [
        [P, MARKER, READS_P, READS_R, MARKER, READS_R],  # an input
        [R, MARKER, READS_P, READS_R, MARKER, READS_R],  # defined before the loop
        [P, MARKER, READS_P, READS_R, MARKER, R],  # and behind it
        [R, MARKER, READS_P, R, MARKER, READS_R],  # in two places
    ],
)
def test_a_result_that_the_body_does_not_define_is_left_alone(slots: list[Slot]) -> None:
    graph = Case(slots, ONE, {"p": value(8, is_output=True)}).graph()
    join_carries(graph)
    assert not graph.merged


def test_joined_values_are_followed_through_several_loops() -> None:
    """What an inner loop joins is found by the outer one under its last name."""
    graph = JOINED["defined in an inner loop"].graph()
    third = graph.new_value("q", (), graph.values[0].shape, False)
    graph.update_instead(1, third)
    graph.update_instead(0, 1)
    assert [graph.find(v) for v in (0, 1, third)] == [0, 0, 0]


def test_what_is_updated_through_another_name_is_updated() -> None:
    """A write of a value that was merged into `new` is one of `new`."""
    graph = GROUPS["as it is"].graph()
    third = graph.new_value("q", (), graph.values[0].shape, False)
    graph.steps[3].writes = [RawWrite(third, (), 8, True)]
    graph.merged[third] = 1
    graph.update_instead(0, 1)
    assert [w.defines for step in graph.steps for w in step.writes] == [True, False]


def test_positions_are_named_as_the_compiler_writes_them() -> None:
    graph = GROUPS["as it is"].graph()
    number = graph.new_value("fusion.1", (0, 2), graph.values[0].shape, False)
    assert [graph.values[v].name for v in (0, number)] == ["p", "fusion.1{0,2}"]
