"""Suites and their data."""
