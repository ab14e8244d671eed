"""A tuning as people see it: what it is about to do, how far it is, what it found, and that as one page."""
