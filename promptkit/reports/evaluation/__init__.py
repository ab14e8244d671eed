"""Reports of an evaluation in a terminal: live progress, the report, and error analysis."""
