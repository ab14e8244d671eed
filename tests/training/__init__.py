"""Tests of what trains models and of the files that training writes."""
