"""Fitting an adapter to examples in JAX: batches, objective, loop, checkpoints and memory."""
