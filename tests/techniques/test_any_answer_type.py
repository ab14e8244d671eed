"""The techniques that are newer than the survey return an answer of each type, and over programs as over thoughts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.runtimes.base import Request
from promptkit.techniques.perform import perform
from tests.techniques.steps import Bench, FunctionTool, flat
from tests.techniques.test_catalog import NEWER, abilities

ANSWERS: list[tuple[Any, str, Any]] = [
    ("number", "7", 7),
    ("boolean", "true", True),
    ("text", "It is seven.", "It is seven."),
    ({"label": ["odd", "even"]}, "odd", "odd"),
    ({"labels": ["odd", "prime", "even"]}, "odd, prime", ["odd", "prime"]),
    ({"choice": ["six", "seven"]}, "B", "seven"),
    ({"list": {"of": "number", "separator": ","}}, "7, 8", [7, 8]),
    ({"json": {"type": "object"}}, '{"sum": 7}', {"sum": 7}),
    ({"code": "python"}, "```python\nsum = 7\n```", "sum = 7"),
]
TOOLS = {"add": FunctionTool("add", lambda arguments: 7)}
ASIDES = {
    "grade it": "5",
    "Grade it": "5",
    "most consistent": "1",
    'The verdict is "good"': "It is fine.\nVerdict: good",
    'The verdict is "right"': "It is fine.\nVerdict: right",
    "Write only its skeleton": "1. the sum",
}


def answering(reply: str) -> Any:
    """Return a script that gives an answer to whatever is not an aside."""

    def script(request: Request) -> str:
        text = flat(request)
        return next((aside for words, aside in ASIDES.items() if words in text), reply)

    return script


@pytest.mark.parametrize("name", [name for name in NEWER if name != "skeleton_of_thought"])
@pytest.mark.parametrize(("kind", "reply", "value"), ANSWERS, ids=lambda given: None)
async def test_an_answer_of_each_type_comes_out(tmp_path: Path, name: str, kind: Any, reply: str, value: Any) -> None:
    bench = Bench(tmp_path, answering(reply), kind, capabilities=abilities(name))

    answer = await perform(name, bench.step(tools=TOOLS))

    assert (answer.value, answer.flag) == (value, None)


OVER = ["step_back", "rephrase_and_respond", "universal_self_consistency", "adaptive_self_consistency"]
OVER += ["best_of_n", "self_refine", "reflexion", "debate"]


@pytest.mark.parametrize("name", OVER)
async def test_a_program_may_be_beneath(tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path, answering("def solution():\n    return 3 + 4"))

    answer = await perform({name: {"over": "pal"}}, bench.step())

    assert (answer.value, answer.flag) == (7, None)


NAMED = "{% block instructions %}Do it.{% endblock %}\n{% block input %}{{ task }} {{ shown }}{% endblock %}\n"


@pytest.mark.parametrize("name", NEWER)
async def test_an_input_may_have_the_name_of_a_macro_of_the_templates(tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path, answering("7"), prompt=NAMED, capabilities=abilities(name))

    answer = await perform(name, bench.step(values={"task": "TASK-MARK", "shown": "SHOWN-MARK"}, tools=TOOLS))

    assert answer.value == 7
    assert "TASK-MARK SHOWN-MARK" in (bench.runtime.requests[0].prompt or bench.texts[0])
