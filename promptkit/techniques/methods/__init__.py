"""What techniques compute with, each a subject of its own: clusters, votes over programs, table operations, logic."""
