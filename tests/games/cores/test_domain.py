"""The cores game in the game kit, and its command line."""

from __future__ import annotations

import json

import pytest

from gamekit.conformance import check_domain, check_environment
from gamekit.errors import InputError
from gamekit.registry import load_domain
from games.cores.__main__ import main
from games.cores.domain import DOMAIN
from games.cores.game.options import CoresConfig
from games.cores.judge import judge
from games.cores.mappers.registry import MAPPERS
from games.cores.problem import save_problem
from games.cores.problem.schedule import load_schedule
from games.cores.synthetic.chains import Branches, chain_problem


@pytest.mark.slow
def test_the_game_keeps_the_protocol():
    instances = DOMAIN.instances(["layered/layered_100", "fronts/drop", "fronts/split@1,1,1"])
    check_environment(DOMAIN.build(instances, CoresConfig()))


def test_the_judge_agrees_with_the_game():
    instances = DOMAIN.instances(["fronts/drop", "fronts/split@1,1,1"])
    check_domain(DOMAIN, instances, CoresConfig())


def test_names_lead_to_instances():
    assert len(DOMAIN.instances(["fronts", "layered"])) == 30
    made = DOMAIN.instances(["generated:3:7", "fronts/split@0,2,1"])
    assert [i.name for i in made][1:] == ["random_7000001", "random_7000002", "split@0,2,1"]
    assert made[3].content.weights.energy == 2
    assert load_domain("games.cores.domain:DOMAIN") is DOMAIN
    assert DOMAIN.knows("layered@1,0,0") and not DOMAIN.knows("tpu_v4_sample")
    for name, message in (
        ("nowhere", "problem must be a file, .* got 'nowhere'"),
        ("generated:0", "must be 1"),
        ("fronts@0,0,0", "one weight must be positive"),
    ):
        with pytest.raises(InputError, match=message):
            DOMAIN.instances([name])


def test_variants_are_valid_and_depend_on_seed_and_number():
    instances = DOMAIN.instances(["layered/layered_100"])
    three, four = DOMAIN.variants(instances, 3, 1), DOMAIN.variants(instances, 4, 1)
    assert [i.content for i in three] == [i.content for i in four[:3]]
    for instance in four:
        found = DOMAIN.judge(instance, instance.content.naive.schedule)
        assert found.valid and found.score == pytest.approx(0, abs=1e-9)


def test_polishing_loses_nothing():
    """Neither what it is given nor what it could have begun with."""
    for instance in DOMAIN.instances(["generated:6:5"]):
        problem = instance.content
        given = MAPPERS["greedy"](problem, 0.0, 0)
        assert DOMAIN.polish is not None
        polished = DOMAIN.polish(instance, [given.schedule], 0.0, 0)
        assert polished.solution is not None
        found = judge(problem, polished.solution)
        others = [given, *(MAPPERS[name](problem, 0.0, 0) for name in ("list", "heft"))]
        assert found.valid and found.cost <= min(each.cost for each in others) + 1e-9


def test_the_agent_that_comes_with_the_game_schedules(tmp_path, capsys):
    problem, schedule = chain_problem("p", Branches(2, 2), 2, [(4000, 1000.0)]), tmp_path / "s.json"
    save_problem(problem, tmp_path / "p.json")
    asked = ["schedule", str(tmp_path / "p.json"), str(schedule), "--seconds", "1"]
    assert main([*asked, "--mapper", "agent"]) == 0
    assert "s.json: time" in capsys.readouterr().out
    made = judge(problem, load_schedule(schedule, problem))
    assert made.valid and made.cost < 1


def test_commands(tmp_path, capsys):
    problem, schedule = str(tmp_path / "p.json"), str(tmp_path / "s.json")
    save_problem(chain_problem("p", Branches(2, 2), 2, [(4000, 1000.0)]), problem)
    assert main(["schedule", problem, schedule, "--mapper", "greedy"]) == 0
    assert main(["schedule", problem, schedule]) == 2
    assert "s.json: is there already; --overwrite replaces it" in capsys.readouterr().err
    assert main(["check", problem, schedule, "--weights", "0,1,0"]) == 0
    assert "accepted: time" in capsys.readouterr().out
    assert main(["draw", problem, schedule, str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert main(["draw", problem, schedule, str(tmp_path / "t.json")]) == 0
    trace = json.loads((tmp_path / "t.json").read_text())
    assert {event["ph"] for event in trace["traceEvents"]} == {"M", "X", "C"}
    record = json.loads((tmp_path / "s.json").read_text())
    record["events"] = record["events"][1:]
    (tmp_path / "s.json").write_text(json.dumps(record))
    assert main(["check", problem, schedule]) == 1
    assert "rejected: event 0" in capsys.readouterr().out
    for arguments, message in (
        (["check", problem, "nowhere.json"], "nowhere.json: no such file"),
        (["check", problem, schedule, "--weights", "1,x"], "--weights: must be three numbers"),
        (["schedule", problem, "n.json", "--mapper", "magic"], "--mapper: must be one of "),
        (["schedule", problem, "n.json", "--seconds", "nan"], "--seconds: must be positive"),
        (["draw", problem, schedule, "x.txt"], "x.txt: must end in .png"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and message in error


def test_generated_networks_are_valid_and_large():
    """The reference is accepted; the same name gives the same problems."""
    made = DOMAIN.instances(["networks:12:3"])
    assert [i.content for i in made] == [i.content for i in DOMAIN.instances(["networks:12:3"])]
    assert made[0].name == "network_3000000" and made[0].source == "networks:12:3"
    sizes = [len(i.content.operations) for i in made]
    assert min(sizes) >= 8 and 40 <= max(sizes) <= 56, sizes
    for instance in made:
        found = DOMAIN.judge(instance, instance.content.naive.schedule)
        assert found.valid and found.score == pytest.approx(0, abs=1e-9)
