"""Models of the suites: factories of `mallocgame.xla.workload.Workload`, shapes only.

The lists are `tpu_v4.yaml` and `tpu_later.yaml`; no weight is ever made.
"""
