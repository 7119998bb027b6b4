"""Checkpoints that come with a game: what they hold, who plays with them, what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agent import ship
from agent.commands import evaluate
from agent.networks import ValueScale
from agent.networks.networks import MuZeroNetwork
from agent.run import player
from agent.run.checkpoint import load_agent
from agent.run.loaded import Loaded, untrained
from agent.run.player import RunPlayer, shipped_player
from agent.run.shipped import load_either, load_shipped, save_shipped
from gamekit.errors import InputError
from gamekit.evaluation.contest import PlayerUnusable
from gamekit.evaluation.plan import Entry
from gamekit.probe import DOMAIN, delayed, together
from tests.support.agent_setup import disturbed, save_run, small_config
from tests.support.evaluations import one_line, rows_of
from tests.support.polishing_probe import DOMAIN as POLISHING

INSTANCE = POLISHING.instances(["delayed"])[0]
GAME = POLISHING.build([INSTANCE], None)
CONFIG = small_config(search={"simulations": 2, "max_depth": 2})


def an_agent(instances: int = 3) -> Loaded:
    """One with opinions, that was trained on so many instances."""
    scale = ValueScale(jnp.linspace(0.1, 0.7, instances), jnp.linspace(0.5, 1.5, instances))
    agent = untrained(CONFIG, GAME.spec)
    params = disturbed(CONFIG, GAME.spec)
    agent = dataclasses.replace(agent, params=params, scale=scale)
    return Loaded(agent, CONFIG, dataclasses.replace(GAME.spec, num_instances=instances))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_shipped(tmp_path / "shipped", an_agent(), {"note": "of a test"})
    return tmp_path / "shipped"


def test_an_agent_survives_the_round_trip(folder):
    before, after = an_agent(), load_shipped(folder)
    assert after.config == CONFIG and after.spec == GAME.spec
    network = MuZeroNetwork(CONFIG.network, GAME.spec)
    seen = jax.random.normal(jax.random.key(1), (16, GAME.spec.observation.size))

    @jax.jit
    def predicted(params):
        latent = network.apply(params, seen, method="represent")
        return network.apply(params, latent, method="predict")

    pairs = zip(*(predicted(it.agent.params) for it in (before, after)), strict=True)
    for a, b in pairs:
        assert np.ptp(np.asarray(a)) > 0
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert after.agent.typical_advantage == before.agent.typical_advantage
    for name in ("baseline", "spread"):
        kept, trained = (getattr(it.agent.scale, name) for it in (after, before))
        assert kept.shape == (1,) and kept.mean() == trained.mean()


def test_the_files_do_not_depend_on_the_number_of_programs(tmp_path):
    for instances in (1, 5):
        agent = untrained(CONFIG, GAME.spec, instances)
        spec = dataclasses.replace(GAME.spec, num_instances=instances)
        save_shipped(tmp_path / str(instances), Loaded(agent, CONFIG, spec), {})
    for name in ("agent.json", "agent.npz"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "5" / name).read_bytes()


def change_description(folder: Path, **changes) -> None:
    path = folder / "agent.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_arrays(folder: Path, change) -> None:
    """Writes the arrays anew, as if they had been shipped so."""
    with np.load(folder / "agent.npz") as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez(folder / "agent.npz", **arrays)
    digest = hashlib.sha256((folder / "agent.npz").read_bytes()).hexdigest()
    change_description(folder, sha256=digest)


def cut_off(folder: Path) -> None:
    path = folder / "agent.npz"
    path.write_bytes(path.read_bytes()[:1000])


def spoil(value: float):
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[".scale.spread"][0] = value

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "agent.npz").unlink(), "agent.npz: no such file"),
        (cut_off, "agent.npz: damaged, or of another checkpoint than agent.json"),
        (lambda f: (f / "agent.json").write_text("{"), "agent.json: must be valid JSON"),
        (lambda f: change_description(f, format="x"), "agent.json: format: must be 'agent.check"),
        (lambda f: change_description(f, spec={}), "agent.json: spec: damaged: KeyError"),
        (lambda f: change_description(f, sha256=1), "agent.json: sha256: must be a string"),
        (
            lambda f: change_description(f, config={"name": "x", "magic": 1}),
            "agent.json: config: magic: unknown key",
        ),
        (
            lambda f: change_arrays(f, lambda a: a.update({".scale.spread": np.ones(2)})),
            r"agent.npz: .scale.spread must be float32\[1\], got float64\[2\]; it was made by",
        ),
        (lambda f: change_arrays(f, lambda a: a.pop(".scale.spread")), "has no .scale.spread; it"),
        (lambda f: change_arrays(f, lambda a: a.update(more=np.ones(2))), "has more too; it was"),
        (lambda f: change_arrays(f, spoil(np.nan)), ".scale.spread must be finite numbers, got"),
        (lambda f: change_arrays(f, spoil(np.inf)), ".scale.spread must be finite numbers, got"),
    ],
)
def test_what_cannot_be_used_is_one_line(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        load_either(folder)
    said, command = str(caught.value), f"python -m agent.ship runs/NAME {folder} --overwrite"
    assert said.endswith(f"; {command} puts a new one there") and "\n" not in said


def test_another_version_of_the_game_is_refused(folder, monkeypatch):
    monkeypatch.setattr(DOMAIN, "version", 2)
    said = "was trained on version 1 of probe, this is version 2 of probe; train anew; python -m ag"
    with pytest.raises(InputError, match=said):
        load_either(folder)


def test_another_observation_is_refused(folder):
    longer = together(delayed(6))
    entry = Entry("played", "played", None, 0)
    with pytest.raises(PlayerUnusable, match="another observation; python -m ag") as caught:
        RunPlayer(folder).play(entry, POLISHING, longer, INSTANCE)
    assert "\n" not in str(caught.value)


def test_what_is_not_finite_is_not_shipped(tmp_path):
    loaded = an_agent()
    agent = dataclasses.replace(loaded.agent, typical_advantage=jnp.float32(np.nan))
    with pytest.raises(InputError, match=r"\.typical_advantage must be finite"):
        save_shipped(tmp_path / "shipped", loaded._replace(agent=agent), {})
    assert not (tmp_path / "shipped").exists()


def test_a_run_is_shipped_by_a_command(tmp_path, capsys):
    loaded = an_agent()
    run = save_run(tmp_path / "run", CONFIG, loaded.agent, loaded.spec, step=7)
    arguments = [str(run), str(tmp_path / "shipped"), "--note", "of a test", "--machine", "M"]
    assert ship.main(arguments) == 0
    assert "shipped: 7 iterations, 0.50 hours, 0.1 MB" in capsys.readouterr().out
    provenance = json.loads((tmp_path / "shipped" / "agent.json").read_text())["provenance"]
    assert provenance["note"] == "of a test" and provenance["machine"] == "M"
    assert (provenance["iterations"], provenance["hours"], provenance["games"]) == (7, 0.5, 2)
    assert {"command", "commit", "date"} <= set(provenance)
    trained, kept = load_agent(run).agent, load_either(tmp_path / "shipped").agent
    for a, b in zip(*map(jax.tree.leaves, (trained.params, kept.params)), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert ship.main(arguments) == 2
    said = f"error: {tmp_path / 'shipped'}: holds a checkpoint already; choose another folder or "
    assert capsys.readouterr().err == f"{said}say --overwrite\n"
    assert ship.main([*arguments, "--overwrite"]) == 0
    (tmp_path / "file").write_text("")
    assert ship.main([str(run), str(tmp_path / "file" / "shipped")]) == 2
    assert "agent.npz: cannot be written: Not a directory\n" in capsys.readouterr().err
    assert ship.main([str(tmp_path / "none"), str(tmp_path / "other")]) == 2
    assert "none: no training run (it has no config.yaml)\n" in capsys.readouterr().err


def test_polishing_takes_the_rest_of_the_time(folder, monkeypatch):
    """The agent plays only where there is time to compile, or no need to."""
    contestant = RunPlayer(folder, games=4)

    def polished(budget_s: float):
        entry = Entry("polished", "polished", budget_s, 0)
        return contestant.play(entry, POLISHING, GAME, INSTANCE)

    cold = polished(player.COLD_S - 1)
    assert cold is not None and cold.moves == 0 and cold.seconds < 5
    played = contestant.play(Entry("played", "played", None, 0), POLISHING, GAME, INSTANCE)
    assert played is not None and played.moves == len(INSTANCE.content.rewards)
    warm = polished(0.0)
    assert warm is not None and warm.solution == played.solution and warm.moves == played.moves
    # With time for rounds another function plays, which has to be compiled too.
    unplayed = polished(3.0)
    assert unplayed is not None and unplayed.moves == 0
    contestant.play(Entry("played_on", "played_on", 0.01, 0), POLISHING, GAME, INSTANCE)
    longer = polished(3.0)
    assert longer is not None and longer.solution == INSTANCE.reference
    assert 0.5 < longer.seconds < 4.5
    monkeypatch.setattr(player, "COLD_S", 0.0)
    fresh = RunPlayer(folder, games=4).play(
        Entry("polished", "polished", 0.0, 0), POLISHING, GAME, INSTANCE
    )
    assert fresh is not None and fresh.solution == played.solution


def test_the_agent_of_a_game_is_evaluated_by_name(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(POLISHING, "shipped", folder)
    game = ["--game", "tests.support.polishing_probe:DOMAIN", "--suite", "delayed"]
    arguments = [*game, "--solvers", "hybrid,polished", "--budget", "0.5", "--games", "4"]
    assert evaluate.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    rows = {row["solver"]: row for row in rows_of(tmp_path / "out")}
    # `trained_best` does not apply: the best games of the training do not come along.
    assert set(rows) == {"reference", "played", "agent", "hybrid", "polished"}
    assert all(row["valid"] for row in rows.values())
    assert rows["agent"]["score"] == rows["played"]["score"] <= rows["polished"]["score"]
    capsys.readouterr()
    monkeypatch.setattr(POLISHING, "shipped", tmp_path / "none")
    assert evaluate.main([*arguments, "--out", str(tmp_path / "other")]) == 2
    one_line(capsys, "--solvers hybrid: needs --checkpoint, as ")


def test_without_names_the_shipped_agent_stays_out(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(POLISHING, "shipped", folder)
    assert shipped_player(POLISHING).run == folder
    game = ["--game", "tests.support.polishing_probe:DOMAIN", "--suite", "delayed"]
    assert evaluate.main([*game, "--out", str(tmp_path / "out")]) == 0
    assert {row["solver"] for row in rows_of(tmp_path / "out")} == {"reference", "random"}


def test_the_folder_of_a_shipped_agent_is_a_checkpoint(folder, tmp_path):
    arguments = ["--suite", "delayed", "--checkpoint", str(folder), "--out", str(tmp_path / "out")]
    assert evaluate.main([*arguments, "--mappers", "reference,trained_best"]) == 0
    # The best games of the training do not come along.
    assert [row["solver"] for row in rows_of(tmp_path / "out")] == ["reference"]
    header = json.loads((tmp_path / "out" / "rows.jsonl").read_text().splitlines()[0])
    assert header["configuration"]["checkpoint"]["checkpoint"] == "shipped"
