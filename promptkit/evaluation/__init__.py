"""Measuring: statistics, comparisons of techniques on data, and the evidence behind recommending one."""
