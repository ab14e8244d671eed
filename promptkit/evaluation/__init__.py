"""Measuring: suites, their runs and statistics; and choosing a technique on evidence (`evaluation.choosing`)."""
