"""Statistics of samples: intervals, paired differences, power. Functions take and return plain arrays and numbers."""
