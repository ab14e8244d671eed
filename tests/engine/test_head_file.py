"""The file of a step's head: that which it names, else that of the pipeline's and its own name."""

from __future__ import annotations

import pytest

from promptkit.errors import InputError
from tests.engine.helpers import Folder

PROMPT = """
---
inputs: {text: {}}
answer: {label: [bad, good]}
---
{% block instructions %}Is it good?{% endblock %}
{% block input %}{{ text }}{% endblock %}
"""
PIPELINE = "name: moods\ninputs: {text: {example: fine}}\nsteps:\n  mood: {prompt: mood, decide: head, SETTINGS}\n"


@pytest.fixture
def moods(folder: Folder) -> Folder:
    folder.write("templates/prompts/mood.j2", PROMPT)
    return folder


@pytest.mark.parametrize(
    ("settings", "name"),
    [("otherwise: generate", "pipelines/test.mood.head.json"), ("head: ../kept/mood.head.json", "kept/mood.head.json")],
)
def test_a_head_is_found_by_its_name_or_named_by_its_step(moods: Folder, settings: str, name: str) -> None:
    call = moods.load(PIPELINE.replace("SETTINGS", settings)).steps["mood"].prompt_call

    assert call is not None
    assert call.head == (moods.root / name).resolve()


def test_a_head_outside_the_project_is_refused(moods: Folder) -> None:
    with pytest.raises(InputError, match=r"the path `\.\./\.\./mood\.head\.json` leaves the project"):
        moods.load(PIPELINE.replace("SETTINGS", "head: ../../mood.head.json"))
