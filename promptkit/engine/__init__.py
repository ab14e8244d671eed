"""Pipelines: read and checked (`load`), run (`run`), shown (`render`)."""
