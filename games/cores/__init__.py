"""Networks on a machine of several cores: what runs where and when, and what moves (docs/cores.md)."""
