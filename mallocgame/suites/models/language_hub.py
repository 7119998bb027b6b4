"""Backbones of keras-hub on the JAX backend (extra `suite`), in the sizes of their presets."""

from __future__ import annotations

from typing import Any

from mallocgame.suites.models.common import ids, not_installed, spec
from mallocgame.suites.models.vision_keras import build, inference_of, keras_with_jax
from mallocgame.xla.workload import Workload

BASE = {
    "num_layers": 12,
    "num_heads": 12,
    "hidden_dim": 768,
    "intermediate_dim": 3072,
    "dropout": 0.0,
}


def _hub() -> Any:
    keras_with_jax()
    try:
        import keras_hub  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise not_installed(error, "keras-hub") from None
    return keras_hub


def _backbone(name: str, inputs: Any, sizes: dict[str, Any]) -> Workload:
    hub = _hub()
    model = build(lambda _: getattr(hub.models, name)(**sizes), "bfloat16")
    return inference_of(model, inputs, f"keras_hub.models.{name}, keras-hub {hub.__version__}")


def _text(batch: int, length: int, prefix: str = "") -> dict[str, Any]:
    """Tokens and their padding mask, as the backbones name them."""
    return {
        f"{prefix}token_ids": ids(batch, length),
        f"{prefix}padding_mask": ids(batch, length),
    }


def bert(batch: int, length: int = 128) -> Workload:
    """BERT base."""
    inputs = {**_text(batch, length), "segment_ids": ids(batch, length)}
    return _backbone("BertBackbone", inputs, {"vocabulary_size": 30_522, **BASE})


def deberta(batch: int, length: int = 128) -> Workload:
    """DeBERTa v3 extra small: separate attention to contents and to positions."""
    sizes = {**BASE, "num_heads": 6, "hidden_dim": 384, "intermediate_dim": 1536}
    return _backbone(
        "DebertaV3Backbone", _text(batch, length), {"vocabulary_size": 128_100, **sizes}
    )


def t5(batch: int, length: int = 256, answer: int = 64) -> Workload:
    """T5 small, encoder and decoder in one pass."""
    inputs = {**_text(batch, length, "encoder_"), **_text(batch, answer, "decoder_")}
    sizes = {
        "vocabulary_size": 32_128,
        "num_layers": 6,
        "num_heads": 8,
        "hidden_dim": 512,
        "intermediate_dim": 2048,
        "dropout": 0.0,
        "use_gated_activation": False,
    }
    return _backbone("T5Backbone", inputs, sizes)


def whisper(batch: int, answer: int = 64) -> Workload:
    """Whisper tiny on thirty seconds of sound, encoder and decoder in one pass."""
    inputs = {"encoder_features": spec(batch, 3000, 80), **_text(batch, answer, "decoder_")}
    sizes = {
        "vocabulary_size": 51_865,
        "num_layers": 4,
        "num_heads": 6,
        "hidden_dim": 384,
        "intermediate_dim": 1536,
    }
    return _backbone("WhisperBackbone", inputs, sizes)


def mixtral(batch: int, length: int = 128, layers: int = 2) -> Workload:
    """Mixtral at a quarter of the width: eight experts in a layer, all computed, two kept."""
    sizes = {
        "vocabulary_size": 32_000,
        "num_layers": layers,
        "num_query_heads": 16,
        "num_key_value_heads": 4,
        "hidden_dim": 1024,
        "intermediate_dim": 3584,
        "num_experts": 8,
    }
    return _backbone("MixtralBackbone", _text(batch, length), sizes)


def swin(batch: int, depths: tuple[int, ...] = (2, 2, 6, 2)) -> Workload:
    """Swin-T: attention in shifted windows."""
    sizes = {
        "image_shape": (224, 224, 3),
        "embed_dim": 96,
        "depths": tuple(depths),
        "num_heads": (3, 6, 12, 24),
        "window_size": 7,
        "drop_path": 0.0,
    }
    return _backbone("SwinTransformerBackbone", spec(batch, 224, 224, 3), sizes)


def vit(batch: int) -> Workload:
    """ViT-S/16."""
    sizes = {
        "image_shape": (224, 224, 3),
        "patch_size": 16,
        "num_layers": 12,
        "num_heads": 6,
        "hidden_dim": 384,
        "mlp_dim": 1536,
    }
    return _backbone("ViTBackbone", spec(batch, 224, 224, 3), sizes)


def mit(batch: int, size: int = 224) -> Workload:
    """MiT-B0, the encoder of SegFormer: attention with fewer keys than queries."""
    sizes = {
        "image_shape": (size, size, 3),
        "layerwise_depths": [2, 2, 2, 2],
        "num_layers": 4,
        "layerwise_num_heads": [1, 2, 5, 8],
        "layerwise_sr_ratios": [8, 4, 2, 1],
        "max_drop_path_rate": 0.0,
        "layerwise_patch_sizes": [7, 3, 3, 3],
        "layerwise_strides": [4, 2, 2, 2],
        "hidden_dims": [32, 64, 160, 256],
    }
    return _backbone("MiTBackbone", spec(batch, size, size, 3), sizes)
