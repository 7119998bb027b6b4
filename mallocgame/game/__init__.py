"""The mallocGame in JAX: options, tables, state, rules, environment, observations."""
