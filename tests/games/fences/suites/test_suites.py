"""Suites: the worked examples, the handmade programs at their optima, generated ones."""

from __future__ import annotations

import pytest

from gamekit.errors import InputError
from games.fences.domain import DOMAIN, text_of
from games.fences.judge import judge_text
from games.fences.mappers.exhaustive import exhaustive
from games.fences.program.schedule import Fence, Run, Sync, streams_of
from games.fences.suites import find, optimum
from games.fences.suites.generate import generate

WORKED = {"branches": (1, 1), "overlap": (2, 2)}
PROGRAMS = dict((p.name, p) for _, p in find(["worked", "handmade"]))


def test_there_are_two_worked_and_thirty_handmade_programs():
    assert len(PROGRAMS) == 32
    assert len({program.text for program in PROGRAMS.values()}) == 32


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_stored_optimum_is_proven(name):
    program = PROGRAMS[name]
    found = exhaustive(program)
    judged = judge_text(program, text_of(program, found.placements))
    assert found.proven and judged.figures is not None
    assert judged.figures.cost == pytest.approx(optimum(name))


@pytest.mark.parametrize(("name", "counts"), WORKED.items())
def test_worked_examples_have_their_known_counts(name, counts):
    program = PROGRAMS[name]
    judged = judge_text(program, text_of(program, exhaustive(program).placements))
    assert judged.figures is not None
    assert (judged.figures.fences, judged.figures.syncs) == counts


def test_the_fence_of_what_is_read_stands_right_behind_it():
    """overlap: b is behind the fence after a, so that it overlaps with the print."""
    program = PROGRAMS["overlap"]
    names = {str(op.item): i for i, op in enumerate(program.operations)}
    cpu, gpu = streams_of(exhaustive(program).placements)
    assert [type(entry) for entry in gpu] == [Sync, Run, Fence, Run]
    assert gpu[1] == Run(names["a"]) and gpu[3] == Run(names["b"])
    assert cpu.index(Run(names["print(a)"])) < cpu.index(Run(names["d"]))


def test_both_branches_share_one_if_on_the_gpu():
    text = text_of(PROGRAMS["branches"], exhaustive(PROGRAMS["branches"]).placements)
    assert text.count("if (b)") == 1 and text.count("z") == 2


def test_generated_programs_have_their_size_and_are_the_same_again():
    for operations in (5, 8, 12, 32):
        for seed in range(20):
            (_, program), *more = find([f"generated/{operations}/{seed}"])
            assert len(program.operations) == operations and not more
            assert generate(operations, seed) == generate(operations, seed)
    assert len({program.text for _, program in find(["generated/6-12/0-99"])}) == 100


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nowhere"], "program must be one of worked, handmade, generated/OPERATIONS/SEED"),
        (["handmade/nothing"], "program must be one of worked"),
        (["generated/4/0"], "generated/4/0: must have 5 to 32 operations"),
        (["generated/9-6/0"], "must have 5 to 32 operations, the fewer first"),
        (["generated/6/9-3"], "must have seeds from a smaller to a larger one"),
        (["worked", "worked/overlap"], "the program 'overlap' is there twice"),
    ],
)
def test_names_that_lead_nowhere(names, message):
    with pytest.raises(InputError, match=message):
        DOMAIN.instances(names)


def test_files_and_folders_are_suites(tmp_path):
    with pytest.raises(InputError, match="holds no program"):
        find([str(tmp_path)])
    (tmp_path / "one.txt").write_text("x = input()\n")
    assert [program.name for _, program in find([str(tmp_path)])] == ["one"]
    (tmp_path / "two.txt").write_bytes(b"x = \xff\n")
    with pytest.raises(InputError, match=r"two.txt: must be UTF-8 text"):
        find([str(tmp_path / "two.txt")])


def test_the_domain_knows_its_names():
    assert all(map(DOMAIN.knows, ["worked", "handmade/chain", "generated/6-9/3"]))
    assert not any(map(DOMAIN.knows, ["tpu_v4", "handmade/nothing", "worked/../handmade"]))
