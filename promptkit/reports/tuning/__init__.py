"""Reports of a tuning run: the plan, live progress, the report, and the HTML page."""
