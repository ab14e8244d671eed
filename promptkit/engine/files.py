"""Which files a target is made of, and which steps change when one of them does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline


def files(pipeline: Pipeline) -> Mapping[Path, frozenset[str]]:
    """Return each file that the target is made of, absolute, with the steps that read it.

    These are prompts with parents and includes, layouts, technique templates, data, tools and sub-pipelines; the
    pipeline's own file and `promptkit.yaml` are read by all steps.
    """
    raise NotImplementedError
