"""The configuration of a training run."""

from agent.config.config import (
    Config,
    LearnerConfig,
    NetworkConfig,
    ReanalyseConfig,
    ReplayConfig,
    RolloutConfig,
    SearchConfig,
    TrainConfig,
    config_from_record,
    differences,
    load_config,
    save_config,
)

__all__ = [
    "Config",
    "LearnerConfig",
    "NetworkConfig",
    "ReanalyseConfig",
    "ReplayConfig",
    "RolloutConfig",
    "SearchConfig",
    "TrainConfig",
    "config_from_record",
    "differences",
    "load_config",
    "save_config",
]
