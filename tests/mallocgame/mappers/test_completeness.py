"""What good mappings do can be played (docs/game.md, section 9, 6); all programs: benchmarks/."""

from __future__ import annotations

import pytest

from mallocgame.domain import DOMAIN
from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.mappers.in_game.imitate import imitate
from mallocgame.mappers.layouts.local_search import local_search
from mallocgame.program.mapping import Mapping

# Points of the all-slow latency that an imitation may lose.
PRODUCTION, LOCAL_SEARCH = 0.1, 0.3
FAST = ("dlrm_b2048_inference", "resnet50_b1_inference")
SLOW = ("llama_decode_b8", "mixer_b1_inference", "muzero_b128_train", "lstm_b8_inference")


def _lost(name: str, mapping: Mapping | None = None) -> float:
    """Points that the packed game loses that imitates production's mapping, or another one."""
    [instance] = DOMAIN.instances([f"tpu_v4/{name}"])
    program, mapping = instance.content, mapping or instance.reference
    made = imitate(program, GameConfig(), mapping).mapping
    assert verify(program, made) == []
    own, imitated = (simulate(program, m).saved_fraction for m in (mapping, made))
    assert own > 0.05
    return 100 * (own - imitated)


@pytest.mark.parametrize("name", FAST)
def test_the_compilers_plans_can_be_played(name: str):
    assert _lost(name) <= PRODUCTION


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_more_of_the_compilers_plans_can_be_played(name: str):
    assert _lost(name) <= PRODUCTION


@pytest.mark.parametrize("name", FAST[:1])
def test_what_local_search_finds_can_be_played(name: str):
    [instance] = DOMAIN.instances([f"tpu_v4/{name}"])
    found = local_search(instance.content, GameConfig(), 5.0, 0).mapping
    assert _lost(name, found) <= LOCAL_SEARCH
