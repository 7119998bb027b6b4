"""Networks on a machine of several cores: what runs and moves where and when (docs/cores.md)."""
