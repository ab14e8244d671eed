"""Error analysis: what a run gets wrong, and what its errors have in common."""
