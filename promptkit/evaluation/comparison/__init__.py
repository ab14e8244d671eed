"""The comparison of a run with another run or a baseline file."""
