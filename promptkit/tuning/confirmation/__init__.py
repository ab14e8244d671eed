"""The confirmation on held-out rows: the test, its verdict, the ablation."""
