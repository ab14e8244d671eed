"""A project's pipelines for other programs: over HTTP."""
