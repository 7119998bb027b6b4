"""Models of the suites: factories of `mallocgame.xla.workload.Workload`, with shapes only.

The lists of programs are `tpu_v4.yaml` and `tpu_later.yaml`; no weights are ever made.
"""
