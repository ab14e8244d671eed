"""Cells (a row under a variant, once) asked, scored, saved and tallied."""
