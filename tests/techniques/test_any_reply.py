"""Whatever a model replies, a technique ends: with an answer or without one, within its cost, and never in a crash."""

from __future__ import annotations

from random import Random

import pytest

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.render import example_file
from promptkit.engine.run import run
from promptkit.engine.session import RunSettings
from promptkit.errors import UnparsedAnswer
from promptkit.project import Project
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.scripted import Scripted
from promptkit.techniques.cost import cost
from promptkit.techniques.spec import configure
from tests.pipelines.asking import Given
from tests.techniques.test_catalog import CATALOG, PROJECT, abilities

STRANGE = [
    "",
    " ",
    "\n\n\n",
    "None",
    "null",
    "[]",
    "{}",
    '{"a": ',
    "[1, 2",
    '[{"question": 3, "answer": null}]',
    "```python\n```",
    "```python\nwhile True:\n    pass\n```",
    "def solution():\n    return [solution]",
    "ans = 1/0",
    "import os\nans = os.environ",
    "SELECT * FROM w; DROP TABLE w",
    'SELECT QA("map@',
    "f_select_row(row 0, row 99999999999999999999)",
    "f_sort_column([[[)",
    "Action 1: finish[",
    "Action 1: [] search[]]",
    "[EOQ]",
    "(project) [nobody] #1 #99",
    "#1. #2. #3.",
    "Verdict:",
    "true",
    "1. a\n1. a\n1. a",
    "9" * 5000,
    "-inf",
    "nan",
    "\x00\x1b[31m",
    "\ud800",
    "{{ call.question }}{% raw %}",
    "<span class='x'>",
    "Answer: Answer: Answer:",
    "(A) or (B)",
    "🙂" * 50,
    'len = lambda x: "abc"\nfor i in [1, 2]:\n    pass\nanswer = 1',
    "list = bool = int = None\nfor i in range(10**12):\n    answer = i",
    "def solution():\n    return solution()\nans = answer = solution()",
    "answer = " + "+".join(["1"] * 5000),
    '{"answer": ' + "[" * 900 + "]" * 900 + "}",
    "1" * 400 + "." + "1" * 400,
    "1e999",
    '{"a": 1e999}',
    "\u0661\u0662 \uff11",
]
PIECES = [
    *("Answer: ", "```python\n", "```", "\n", "[", "]", "{", "}", '"', ":", "|", "row 1", "#1", "Step 2", "1.", "True"),
    *("SELECT ", "(", ")", "f_", "ans = ", "answer", "for x in ", "Verdict: ", "yes", "<think>", "</think>", "\x00"),
]


def strange(seed: int, name: str) -> Scripted:
    """A runtime that replies anything, cut off now and then."""
    random = Random(seed)

    def script(request: Request) -> str | Reply:
        pieces = random.choices([*PIECES, *STRANGE], k=random.randrange(1, 8))
        text = random.choice(STRANGE) if random.random() < 0.6 else "".join(pieces)
        return Reply(text=text, finish="length") if random.random() < 0.2 else text

    return Scripted(script, capabilities=abilities(name))


@pytest.mark.attack("fuzz")
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_a_technique_ends_whatever_the_model_replies(name: str, decide: str) -> None:
    file = example_file(name, PROJECT)
    assert file is not None
    step = next(iter(load_target(file, Project.find(file)).steps))
    pipeline = load_target(file, Project.find(file), sets=[f"{step}.decide={decide}"])
    asking = pipeline.steps[step].prompt_call
    assert asking is not None
    chosen = configure(asking.technique, pipeline.project)
    thinks = any(example.thoughts for example in asking.examples.all)
    most = cost(chosen, pipeline.project, decide=decide, examples_think=thinks).requests

    for seed in range(8):
        runtime = strange(seed, name)
        result = await run(
            pipeline, fill_inputs(pipeline).values, models=Given(runtime), settings=RunSettings(repairs=0)
        )

        assert result.error is None or isinstance(result.error, UnparsedAnswer)
        assert len(runtime.requests) <= most
