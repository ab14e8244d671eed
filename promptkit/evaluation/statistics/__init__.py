"""What can be said from a sample: intervals, paired differences, how many rows would tell. Plain arrays in and out."""
