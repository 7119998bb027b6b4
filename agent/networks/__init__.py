"""The networks of MuZero, and the units of their values."""

from agent.networks.networks import (
    NUM_ACTIONS,
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

__all__ = [
    "NUM_ACTIONS",
    "Model",
    "MuZeroNetwork",
    "Params",
    "Prediction",
    "decode_reward",
    "decode_value",
    "encode_reward",
    "encode_value",
    "init_params",
]
