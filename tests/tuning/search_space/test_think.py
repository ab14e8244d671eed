"""The axis of thoughts."""

from __future__ import annotations

import pytest

from promptkit.tuning.search_space.settings import think_parameter
from tests.engine.helpers import Folder
from tests.tuning.data_splits import model


@pytest.mark.parametrize(
    ("able", "step", "tried"),
    [
        (("chat",), "", []),
        (("chat", "thinks"), "", []),
        (("chat", "think"), "", ["low", "on", "high"]),
        (("chat", "think", "thinks"), "", ["off", "low", "high"]),
        (("chat", "think", "thinks"), ", think: off", ["low", "on", "high"]),
        (("chat", "think"), ", think: low", ["off", "on", "high"]),
        (("chat", "think"), ", think: 300", ["off", "low", "on", "high"]),
    ],
)
def test_thoughts_are_varied_where_the_model_can_be_switched(
    folder: Folder, able: tuple[str, ...], step: str, tried: list[str]
) -> None:
    pipeline = folder.load(f"inputs: {{text: {{}}}}\nsteps: {{mood: {{prompt: 'Say {{{{ text }}}}.'{step}}}}}")
    parameter = think_parameter(pipeline.steps["mood"], model(*able))  # type: ignore[arg-type]

    assert (parameter.name, parameter.kind) == ("mood.think", "think")
    assert [choice.name for choice in parameter.choices] == ["as written", *tried]
    assert [choice.changes for choice in parameter.choices[1:]] == [{"mood.think": name} for name in tried]
