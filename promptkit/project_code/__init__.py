"""The project's own Python code - which functions it may name, how they are found, loaded and called."""
