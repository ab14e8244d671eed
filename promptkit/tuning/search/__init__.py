"""The search: screening, race, steps."""
