"""What is measured of a cell: one class a kind of metric, found by the word a suite names it by."""
