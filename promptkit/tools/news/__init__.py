"""News from feeds: reading them, keeping what was read, and ranking their items."""
