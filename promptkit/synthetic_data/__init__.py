"""Rows of data that a model writes, with what was checked of them."""
