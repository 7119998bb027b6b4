"""Which values that a loop carries into one another are one value of the program."""

from __future__ import annotations

from mallocgame.xla.read.values import Graph, RawLoop


def join_carries(graph: Graph) -> None:
    """Makes one value of what a loop carries where the rules have no group for it.

    Parameter and result are one buffer to the compiler.  A group in which both stay apart needs a
    result that the body itself defines, and a parameter that does not come from outside of a loop
    that is around this one.  Loops come innermost first.
    """
    for loop in graph.loops:
        for parameter, result in loop.carries:
            old, new = graph.find(parameter), graph.find(result)
            defined = _slots(graph, new, only_defines=True)
            inside = len(defined) == 1 and loop.entry < defined[0] < loop.exit
            if old != new and inside and not _is_group(graph, loop, old, defined[0]):
                graph.update_instead(old, new)
                graph.values[old].is_output |= graph.values[new].is_output


def _is_group(graph: Graph, loop: RawLoop, old: int, defined: int) -> bool:
    """Whether the rules know parameter and result as a group (docs/game.md, section 1)."""
    value = graph.values[old]
    inner = [o for o in graph.loops if loop.entry < o.entry and o.exit < loop.exit]
    if value.is_output or any(o.entry < defined < o.exit for o in inner):
        return False
    touched = _slots(graph, old)
    for around in graph.loops:
        if around.entry < loop.entry and loop.exit < around.exit:
            inside = [around.entry < slot < around.exit for slot in touched]
            if any(inside) and (value.is_input or not all(inside)):
                return False
    return True


def _slots(graph: Graph, value: int, only_defines: bool = False) -> list[int]:
    """Numbers of the steps that access a value, or that define it."""
    return [
        number
        for number, step in enumerate(graph.steps)
        if any(
            graph.find(w.value) == value and (w.defines or not only_defines) for w in step.writes
        )
        or (not only_defines and any(graph.find(r.value) == value for r in step.reads))
    ]
