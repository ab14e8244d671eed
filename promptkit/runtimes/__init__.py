"""Runtimes that answer requests, and the `Client` that every request goes through."""
