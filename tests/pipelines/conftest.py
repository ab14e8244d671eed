"""What the tests of the shipped pipelines share."""

from tests.embedded import embedded, model_file

__all__ = ["embedded", "model_file"]
