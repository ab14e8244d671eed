"""The real model for the tests of techniques."""

from tests.embedded import embedded, model_file

__all__ = ["embedded", "model_file"]
