"""A step's inputs as a problem and its question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.methods.problem import Problem, problem_of
from promptkit.techniques.perform import task_for
from promptkit.techniques.spec import configure
from tests.techniques.steps import Bench

PROMPT = """\
---
inputs: {{question: {{type: text}}, context: {{type: text, default: ""}}}}
---
{{% block input %}}{body}{{% endblock %}}
"""


@pytest.mark.parametrize(
    ("body", "values", "problem"),
    [
        ("{{ question }}", {"question": "Add 3 and 4?"}, Problem("", "Add 3 and 4?")),
        ("{{ question }}", {"question": "Dr. A has 3. How many?"}, Problem("Dr. A has 3.", "How many?")),
        ("{{ question }}", {"question": "Add 3 to 4. Halve it."}, Problem("", "Add 3 to 4. Halve it.")),
        ("{{ question }}", {"question": ""}, Problem("", "")),
        (
            "Today. {{ context }}\nQuestion: {{ question }}",
            {"question": "A?", "context": "C."},
            Problem("Today. C.", "A?"),
        ),
        ("{{ question }}\n{{ context }}", {"question": "A?", "context": "C."}, Problem("C.", "A?")),
        ("{{ context }} {{ question }}", {"question": "A?", "context": "A? C."}, Problem("A? C.", "A?")),
        ("{{ question }}", {"question": "A?", "context": "C."}, Problem("C.", "A?")),
        ("{{ question | upper }}", {"question": "a?"}, Problem("A?", "a?")),
    ],
)
def test_the_problem_is_the_input_without_its_question(
    tmp_path: Path, body: str, values: dict[str, Any], problem: Problem
) -> None:
    bench = Bench(tmp_path, [], prompt=PROMPT.format(body=body))
    task = task_for(configure("least_to_most", bench.project), bench.step(values={"context": "", **values}))

    assert problem_of(task) == problem
