"""`promptkit start`: from one sentence to a project of plain files."""
