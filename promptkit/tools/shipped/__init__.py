"""The tools that promptkit ships, one module each."""
