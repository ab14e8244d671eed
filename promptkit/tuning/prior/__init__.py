"""Warm starts: effects of choices in earlier tunings on the same model, as the prior of a later screen."""
