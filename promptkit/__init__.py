"""promptkit: structured prompts, YAML pipelines and prompting techniques on local language models."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptkit.tuning.tune import tune

__all__ = ["tune"]


def __getattr__(name: str) -> object:
    """Import what is called from Python at its first use: the command line starts without it."""
    if name == "tune":
        from promptkit.tuning.tune import tune

        return tune
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
