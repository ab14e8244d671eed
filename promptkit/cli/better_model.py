"""The line that names a better model, once on a machine, to a person who runs the default one."""

from __future__ import annotations

import sys
from collections.abc import Collection
from contextlib import suppress
from importlib.util import find_spec

from promptkit.reports.output import note, result_stream, tty_width
from promptkit.reports.text import size_text
from promptkit.runtimes.references import EMBEDDED


def suggest_better_model(answered: Collection[str]) -> None:
    """Name the command that fetches a better model, where the default one answered and no better one is here.

    Only in a terminal, and once on a machine: a file in the cache folder remembers it. `answered` are references.
    """
    if EMBEDDED not in answered or tty_width(sys.stderr) is None or tty_width(result_stream()) is None:
        return
    from promptkit.project import cache_folder
    from promptkit.runtimes.in_process.embedded_models import embedded_models, recommended_model
    from promptkit.runtimes.in_process.weights import models_folder

    others = [
        model for model in embedded_models().values() if model.reference != EMBEDDED and model.task != "embedding"
    ]
    suggested = cache_folder() / "better-model-suggested"
    if any((models_folder() / model.file).exists() for model in others):
        return
    with suppress(OSError):  # where nothing can be remembered, nothing is suggested
        suggested.touch(exist_ok=False)
        model = recommended_model()
        package = "" if find_spec("huggingface_hub") else "pip install 'promptkit[hub]'; "
        note(
            f"for better answers: {package}promptkit models pull {model.reference} ({size_text(model.size)}), "
            f"then --model {model.reference}"
        )
