"""Examples from front matter or from a file of rows, and how to pick among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptkit.prompts.prompt import Example, Prompt


def read_examples(
    prompt: Prompt, spec: Any = None, *, values: Mapping[str, Any] | None = None
) -> tuple[Example, ...]:
    """Return the examples of a prompt, or of a step's own `examples:` value (`spec`).

    A list of `{input, output, thoughts}`, or `{file, pick: first|random|balanced|similar, count, seed}`. `similar`
    compares with `values`, the inputs of the row. Raises InputError.
    """
    raise NotImplementedError
