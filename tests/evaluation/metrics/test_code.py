"""Programs that pass their tests, in the sandbox."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.evaluation.metrics import code as own_module
from promptkit.evaluation.metrics.base import Metric, MetricInput
from promptkit.evaluation.metrics.score import Score
from promptkit.runtimes.scripted import Scripted
from promptkit.tools.backends import importable, jail_fault
from tests.engine.helpers import Folder
from tests.engine.helpers import Given as Models
from tests.evaluation.metrics.given import given, metric, sample

TESTS = "assert add(1, 2) == 3\nassert add(2, 2) == 4, 'two and two'"
ADD = "def add(a, b):\n    return a + b"


async def score(program: Any, tests: Any = TESTS, **parameters: Any) -> Score:
    """Return the score, for which no model is asked."""
    return await metric("code", parameters).measure_async(given(program, tests), Models(Scripted([])))


@pytest.mark.parametrize("program", [ADD, f"Here it is:\n```python\n{ADD}\n```\nIt adds.", f"{ADD}\nadd"])
async def test_a_program_that_passes_is_right(program: str) -> None:
    assert (await score(program)).value == 1


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("def add(a, b):\n    return 3", "a test, line 2: AssertionError: two and two"),
        ("def plus(a, b):\n    return a + b", "a test, line 1: NameError"),
        ("def add(a, b:\n", "the program, line "),
        ("raise SystemExit", "the program, line 1: SystemExit"),
        ("open('/etc/passwd')", "the program, line 1: PermissionError"),
        ("", "no program"),
    ],
)
async def test_a_program_that_fails_is_wrong_and_says_why(program: str, problem: str) -> None:
    found = await score(program)
    assert found.value == 0 and problem in found.detail["problem"]


async def test_a_program_that_does_not_end_is_wrong() -> None:
    found = await score("while True:\n    pass", seconds=0.2)
    assert found.value == 0 and found.detail["kind"] == "time"


@pytest.mark.parametrize("program", [f"{ADD}\nx = '''", f"{ADD}\nraise SystemExit", f"{ADD}\nif False:", f"{ADD}\\"])
async def test_no_program_can_swallow_its_tests(program: str) -> None:
    assert (await score(program, "assert add(1, 1) == 3")).value == 0


@pytest.mark.parametrize("program", ["import numpy\n" + ADD, "def add(a, b):\n    yield a + b"])
async def test_what_monty_cannot_run_is_missing_not_wrong(program: str) -> None:
    found = await score(program, backend="monty")
    assert found.value is None and "sandbox" in found.why


async def test_the_backend_of_programs_may_be_cpython() -> None:
    if why := jail_fault():
        pytest.skip(why)
    program = "def add(a, b):\n    import numpy\n    yield int(numpy.add(a, b))"
    if "numpy" not in importable("cpython"):
        program = program.replace("import numpy", "").replace("int(numpy.add(a, b))", "a + b")
    tests = "assert list(add(1, 2)) == [3]"
    assert (await score(program, tests, backend="cpython")).value == 1
    found = await score(program, tests.replace("3", "4"), backend="cpython")
    assert found.value == 0 and "a test, line 1: AssertionError" in found.detail["problem"]
    found = await score(f"import socket\n{ADD}", backend="cpython")
    assert found.value == 0 and "No module named 'socket'" in found.detail["problem"]


@pytest.mark.parametrize(
    "program",
    [
        "import heapq, string, statistics, operator\ndef add(a, b):\n    return operator.add(a, b)",
        "def both(a, b):\n    yield a\n    yield b\ndef add(a, b):\n    return sum(both(a, b))",
        "class Wrong(Exception):\n    pass\ndef add(a, b):\n    x = a + b\n    y = x\n    del x\n    return y",
        "from typing import *\ndef add(a: int, b: int) -> Union[int, None]:\n    return a + b",
    ],
)
async def test_ordinary_programs_have_a_score_by_default(program: str) -> None:
    if why := jail_fault():
        pytest.skip(why)
    assert (await score(program)).value == 1


def test_a_backend_that_is_not_there_is_an_error_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_module, "jail_fault", lambda: "it is no Linux")
    with pytest.raises(InputError, match="`backend`: CPython cannot run programs here: it is no Linux"):
        metric("code", {"backend": "cpython"})
    assert metric("code", {"backend": "auto"})


def test_scores_of_another_backend_have_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_module, "jail_fault", lambda: None)
    usual = metric("code", {"backend": "monty"}).key
    assert usual == 'code:{"tests":null,"seconds":5.0}'
    assert metric("code", {"backend": "cpython"}).key == f"{usual}:cpython"
    for backend, key in (("cpython", f"{usual}:cpython"), ("monty", usual)):
        monkeypatch.setattr(own_module, "resolve_backend", lambda _, backend=backend: backend)
        assert metric("code", {"backend": "auto"}).key == key


async def test_tests_may_be_the_same_for_all_rows() -> None:
    of = metric("code", {"tests": TESTS})
    assert not of.needs_expected
    assert (await of.measure_async(given(ADD), Models(Scripted([])))).value == 1


@pytest.mark.parametrize(("tests", "message"), [("add(1, 2)", "no `assert`"), ("assert (", "not Python")])
def test_tests_that_test_nothing_are_an_error_before_the_run(tests: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        metric("code", {"tests": tests})
    wrong = metric("code").wrong_expected(tests)
    assert wrong and message in wrong


def test_expected_tests_that_are_no_text_are_an_error_before_the_run() -> None:
    assert metric("code").wrong_expected(7)
    assert metric("code").wrong_expected(TESTS) is None


CELL = given("got", "wanted", row={"text": "hi"}, steps={"mood": "bad"}, read_trace=lambda: {"name": "run"})


def mine(folder: Folder, source: str, function: str = "metrics/mine.py:score", **parameters: Any) -> Metric:
    folder.write("metrics/mine.py", source)
    return metric("python", {"function": function, **parameters}, folder=folder.root, name="mine")


async def scored(of: Metric, cell: MetricInput = CELL) -> Score:
    return await of.measure_async(cell, Models(Scripted([])))


async def returned(folder: Folder, expression: str, **parameters: Any) -> Score:
    return await scored(mine(folder, f"import math\ndef score(output):\n    return {expression}\n", **parameters))


@pytest.mark.parametrize(
    ("takes", "gets"),
    [
        ("row", {"text": "hi"}),
        ("output", "got"),
        ("expected", "wanted"),
        ("steps", {"mood": "bad"}),
        ("trace", {"name": "run"}),
        ("*, trace", {"name": "run"}),
        ("output, further=3", "got"),
    ],
)
async def test_a_function_takes_what_it_names(folder: Folder, takes: str, gets: Any) -> None:
    name = takes.replace("*, ", "").partition(",")[0]
    score = await scored(mine(folder, f"def score({takes}):\n    return {{'score': 1, 'seen': {name}}}\n"))
    assert (score.value, score.detail["seen"]) == (1, gets)


async def test_an_open_function_and_one_of_a_module_take_all(folder: Folder) -> None:
    source = "def score(**all):\n    return {'score': 1, 'names': sorted(all)}\n"
    names = ["expected", "output", "row", "steps", "trace"]
    assert (await scored(mine(folder, source))).detail["names"] == names
    folder.write("own_metrics_of_a_test.py", source)
    of = metric("python", {"function": "own_metrics_of_a_test:score"}, folder=folder.root)
    assert (await scored(of)).detail["names"] == names


@pytest.mark.parametrize(("expression", "value"), [("True", 1), ("0", 0), ("0.25", 0.25), ("{'score': False}", 0)])
async def test_a_number_or_a_boolean_is_the_score(folder: Folder, expression: str, value: float) -> None:
    assert (await returned(folder, expression)).value == value


async def test_numbers_of_numpy_are_numbers(folder: Folder) -> None:
    source = "import numpy\ndef score():\n    return numpy.float32(0.5)\n"
    assert (await scored(mine(folder, source))).value == 0.5


async def test_a_function_may_be_async(folder: Folder) -> None:
    source = "import asyncio\nasync def score(output):\n    await asyncio.sleep(0)\n    return 1\n"
    assert (await scored(mine(folder, source))).value == 1


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero (metrics/mine.py:3)"),
        ("exit()", "SystemExit"),
        ("next(iter(()))", "StopIteration"),
        ("math.nan", "not a number"),
        ("math.inf", "not a number"),
        ("10 ** 400", "not a number"),
        ("'good'", "not a number"),
        ("{'points': 1}", "no `score`"),
        ("7", "outside [0, 1]"),
        ("{'score': 1, 'seen': math.nan}", "not JSON"),
    ],
)
async def test_what_is_no_score_is_missing_and_says_why(
    folder: Folder, expression: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.root)
    score = await returned(folder, expression)
    assert score.value is None and why in score.why


async def test_a_file_that_cannot_be_run_leaves_scores_missing(folder: Folder) -> None:
    score = await scored(mine(folder, "import absent_module\ndef score():\n    return 1\n"))
    assert score.value is None and "absent_module" in score.why


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"function": "metrics/mine.py"}, "FILE.py:FUNCTION"),
        ({"function": "metrics/mien.py:score"}, "no such file"),
        ({"function": "metrics/mine.py:scroe"}, "did you mean `score`"),
        ({"function": "../elsewhere.py:score"}, "leads out of the project"),
        ({"function": "metrics/mine.py:wants"}, "did you mean `output`"),
        ({"bounds": [1, 1]}, "nothing lies between 1 and 1"),
    ],
)
def test_a_metric_that_cannot_work_is_told_before_the_run(
    folder: Folder, parameters: dict[str, Any], message: str
) -> None:
    source = "def score():\n    return 1\n\ndef wants(outptu):\n    return 1\n"
    with pytest.raises(InputError, match=message):
        mine(folder, source, **parameters)


def test_the_key_changes_with_the_file(folder: Folder) -> None:
    before = mine(folder, "def score():\n    return 1\n").key
    assert mine(folder, "def score():\n    return 1\n").key == before
    assert mine(folder, "def score():\n    return 0\n").key != before


async def test_an_edited_function_is_run_as_it_is_now(folder: Folder) -> None:
    assert (await returned(folder, "1")).value == 1
    path = Path(folder.root / "metrics/mine.py")
    path.write_text("def score(output):\n    return 0\n")
    assert (await scored(metric("python", {"function": "metrics/mine.py:score"}, folder=folder.root))).value == 0


def test_scores_of_right_and_wrong_are_compared_as_such(folder: Folder) -> None:
    of = mine(folder, "def score():\n    return 1\n")
    difference = of.difference(sample([1.0] * 20), sample([0.0] * 20))
    assert difference is not None and difference.method.startswith("Tango")
    graded = of.difference(sample([0.5] * 20), sample([0.0] * 20))
    assert graded is not None and not graded.method.startswith("Tango")


def test_a_score_without_bounds_is_measured(folder: Folder) -> None:
    of = mine(folder, "def score():\n    return 1\n", bounds=None, higher_is_better=True)
    found = of.estimate(sample([1.0, 200.0, 30.0]))
    assert found.mean == 30 and of.bounds is None and of.higher_is_better
    difference = of.difference(sample([20.0] * 9), sample([10.0] * 9))
    assert difference is not None and difference.is_ratio and difference.better == 9


def test_of_scores_below_0_there_is_no_ratio(folder: Folder) -> None:
    of = mine(folder, "def score():\n    return 1\n", bounds=None)
    assert of.estimate(sample([-1.5, 2.0, -3.0])).mean == -1.5
    found = of.difference(sample([-1.5, 2.0]), sample([1.0, 2.0]))
    assert found is not None and found.difference is None
    assert found.notes == ("a cell is below 0: there is no ratio",)


def test_bounds_of_ones_own_are_those_of_the_mean(folder: Folder) -> None:
    found = mine(folder, "def score():\n    return 1\n", bounds=[1, 5]).estimate(sample([1.0, 5.0, 3.0]))
    assert found.mean == 3 and found.low is not None and found.low >= 1


def test_an_answer_that_is_none_is_the_worst_where_there_is_a_worst(folder: Folder) -> None:
    source, unparsed = "def score():\n    return 1\n", given(None, flag="unparsed")
    assert mine(folder, source).unanswered(unparsed).value == 0
    assert mine(folder, source, bounds=[1, 5], higher_is_better=False).unanswered(unparsed).value == 5
    unbounded = mine(folder, source, bounds=None).unanswered(unparsed)
    assert unbounded.value is None and "bounds" in unbounded.why


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


numbers = st.integers() | st.floats() | st.floats(0, 1) | st.complex_numbers()
scalars = st.none() | st.booleans() | numbers | st.text() | st.binary() | st.builds(Odd)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["score", "seen"]), inner), max_leaves=8
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@drawn(anything)
async def test_whatever_is_returned_is_a_score_within_bounds_or_missing(folder: Folder, value: Any) -> None:
    of = mine(folder, "def score():\n    return 1\n")
    assert isinstance(of, own_module.PythonFunction)
    score = of.read(value)
    if score.value is None:
        assert score.why
    else:
        assert isfinite(score.value) and 0 <= score.value <= 1 and list(of.numbers(score)) == [score.value]
        json.dumps(score.detail, allow_nan=False)
