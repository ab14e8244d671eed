"""Models as text."""

from __future__ import annotations

from promptkit.reports.models import models_text
from promptkit.runtimes.models import LocalModel

CATALOG = LocalModel(reference="embedded/small", size=98_000_000, licence="MIT")
SERVED = LocalModel(
    reference="ollama/a-model-with-a-long-name:latest",
    size=98_000_000,
    context=8192,
    parameters="134.52M",
    quantization="Q4_1",
    reported=("tools", "thinking", "vision"),
)


def test_models_of_a_server_do_not_widen_the_lines_of_the_others() -> None:
    alone = models_text([CATALOG])
    assert alone == "embedded/small  98 MB  MIT  ready"
    assert models_text([CATALOG, SERVED]).split("\n")[0] == alone
    assert models_text([SERVED]) == models_text([CATALOG, SERVED]).split("\n")[1]
