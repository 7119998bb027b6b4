"""Measurements and workloads that need a clone of the repository; not part of the packages."""
