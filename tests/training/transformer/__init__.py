"""Tests of the model that JAX computes."""
