"""`Task`: its cue, its examples as a model reads them, and the samples that it is part of."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.build import build_answer_type
from promptkit.prompts.prompt import Example
from promptkit.techniques.perform import perform
from tests.techniques.steps import MARKED, PROMPT, Bench

TELLING = '''
from promptkit.techniques import Answer, Task, technique


@technique()
async def telling(task: Task) -> Answer:
    """Tell what the task tells."""
    shown = [[example.input, example.thoughts, example.output] for example in task.written_examples]
    types = [kind.alternatives() for kind in task.example_types]
    await task.ask("reason")
    return Answer(value=None, extra={"examples": shown, "types": types})
'''

SHOWING = "{% block recap %}<{{ call.cue }}>{% endblock %}\n"


def telling(folder: Path, prompt: str = PROMPT, *, cue: str = "", answer: Any = "number") -> Bench:
    (folder / "techniques").mkdir()
    (folder / "techniques" / "telling.py").write_text(TELLING)
    (folder / "templates" / "techniques" / "telling").mkdir(parents=True)
    call = f"---\nproduces: answer\nthinks: true\ncue: '{cue}'\n---\n{{% extends prompt %}}\n" + SHOWING
    (folder / "templates" / "techniques" / "telling" / "reason.j2").write_text(call)
    return Bench(folder, [""], answer, prompt=prompt)


@pytest.mark.parametrize(
    ("prompt", "trigger", "given", "expected"),
    [
        (MARKED, "TRIGGER:", "STEP:", "STEP:"),
        (MARKED, "TRIGGER:", None, "CUE-MARK:"),
        (PROMPT, "TRIGGER:", None, "TRIGGER:"),
        (PROMPT, "", None, "Output:"),
        (PROMPT, "TRIGGER:", "none", ""),
    ],
)
async def test_the_cue_is_the_users_else_the_techniques_else_the_layouts(
    tmp_path: Path, prompt: str, trigger: str, given: str | None, expected: str
) -> None:
    bench = telling(tmp_path, prompt, cue=trigger)

    await perform("telling", bench.step(cue=given))

    assert f"<{expected}>" in bench.texts[0]


async def test_examples_are_told_as_a_model_reads_them_each_with_its_own_answer_type(tmp_path: Path) -> None:
    bench = telling(tmp_path, "{% block input %}Q: {{ question }}{% endblock %}", answer={"choice": ["red", "blue"]})
    examples = (Example({"question": "a?"}, "blue", "T-ONE"), Example({"question": "b?"}, "tea"))
    kinds = (bench.answer, build_answer_type({"choice": ["tea"]}))

    answer = await perform("telling", bench.step(examples=examples, example_answers=kinds))

    assert answer.extra["examples"] == [["Q: a?", "T-ONE", "B"], ["Q: b?", None, "A"]]
    assert answer.extra["types"] == [("A", "B"), ("A",)]


@pytest.mark.parametrize(("spec", "temperatures"), [("pal", [0.0]), ({"self_consistency": {"over": "pal"}}, [0.7] * 5)])
async def test_a_greedy_call_is_asked_at_the_temperature_of_the_samples_that_it_is_part_of(
    tmp_path: Path, spec: Any, temperatures: list[float]
) -> None:
    bench = Bench(tmp_path, ["def solution():\n    return 7"] * len(temperatures))

    await perform(spec, bench.step())

    assert [request.temperature for request in bench.runtime.requests] == temperatures
