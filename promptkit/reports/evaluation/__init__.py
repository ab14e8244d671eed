"""A run of a suite in the terminal: how far it is, and what it says.

`evaluation_text` is the report, `metric_text` one value of it as every other report shows it too.
"""
