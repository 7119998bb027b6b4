"""The configuration of a training run."""

from agent.config.config import (
    Config,
    config_from_record,
    config_record,
    differences,
    load_config,
    save_config,
)
from agent.config.sections import (
    GameChoice,
    LearnerConfig,
    NetworkConfig,
    ReanalyseConfig,
    ReplayConfig,
    RolloutConfig,
    SearchConfig,
    TrainConfig,
)

__all__ = [
    "Config",
    "GameChoice",
    "LearnerConfig",
    "NetworkConfig",
    "ReanalyseConfig",
    "ReplayConfig",
    "RolloutConfig",
    "SearchConfig",
    "TrainConfig",
    "config_from_record",
    "config_record",
    "differences",
    "load_config",
    "save_config",
]
