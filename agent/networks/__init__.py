"""The networks of MuZero, and what their values mean."""

from agent.networks.agent import Agent, fresh_agent
from agent.networks.networks import (
    Model,
    MuZeroNetwork,
    Params,
    Prediction,
    decode_reward,
    decode_value,
    encode_reward,
    encode_value,
    init_params,
)
from agent.networks.value_scale import ValueScale

__all__ = [
    "Agent",
    "Model",
    "MuZeroNetwork",
    "Params",
    "Prediction",
    "ValueScale",
    "decode_reward",
    "decode_value",
    "encode_reward",
    "encode_value",
    "fresh_agent",
    "init_params",
]
