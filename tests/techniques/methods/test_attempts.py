"""Programs of replies: which modules they are offered, and how their failures are worded."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.techniques.methods.attempts import failure_text, importable_modules
from promptkit.techniques.perform import task_for
from promptkit.techniques.spec import configure
from promptkit.tools.python import run_python
from promptkit.tools.sandbox import Failure
from tests.techniques.steps import Bench


async def test_each_module_that_a_prompt_offers_can_be_imported(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])
    modules = await importable_modules(task_for(configure("pal", bench.project), bench.step()))

    execution = await run_python("\n".join(f"import {name}" for name in modules))

    assert {"math", "datetime", "collections", "re"} <= set(modules)
    assert execution.failure is None


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (Failure("exception", "ValueError: no", 2), "the program failed in line 2, `b = a`: ValueError: no"),
        (Failure("exception", "ValueError: no", 9), "the program failed: ValueError: no"),
        (Failure("time", "the program took longer than 5 seconds"), "the program took longer than 5 seconds"),
        (Failure("syntax", "no", 3), f"the program failed in line 3, `{'c + ' * 25}…`: no"),
    ],
)
def test_a_failure_names_its_line_where_that_is_in_the_program(failure: Failure, text: str) -> None:
    program = f"a = 1\n  b = a\n{'c + ' * 90}c"

    assert failure_text(program, failure) == text
