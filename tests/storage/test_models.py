"""Every mistake in a mapping is named at its line and column, with the nearest key."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, field_validator

from promptkit.errors import InputError, Problem
from promptkit.storage.models import Problems, read_model
from promptkit.storage.yaml import load


class Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Options(Closed):
    temperature: float | None = None
    stop: tuple[str, ...] = ()


class Step(Closed):
    prompt: str
    options: Options | None = None
    decide: Literal["constrain", "generate"] = "constrain"
    answer: str | dict[str, int] = "text"

    @field_validator("prompt")
    @classmethod
    def known(cls, prompt: str) -> str:
        if prompt == "bad":
            raise ValueError("no such prompt")
        return prompt


class Pipeline(Closed):
    name: str = ""
    steps: dict[str, Step] = {}
    items: list[Options] = []


def problems_of(text: str, *, at: tuple[str, ...] = (), model: type[BaseModel] = Pipeline) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        read_model(load(text, file="x.yaml"), model, at=at)
    return list(caught.value.problems)


def test_a_valid_mapping_is_a_model() -> None:
    document = load("name: x\nsteps:\n  a: {prompt: p, options: {temperature: 1, stop: [x]}}\n", file="x.yaml")
    pipeline = read_model(document, Pipeline)
    assert pipeline.steps["a"].options == Options(temperature=1.0, stop=("x",))
    assert read_model(document, Step, at=["steps", "a"]) == pipeline.steps["a"]


def test_a_file_with_nothing_but_comments_is_an_empty_mapping() -> None:
    assert read_model(load("# none\n", file="x.yaml"), Pipeline) == Pipeline()


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("nam: x", 1, 1, "unknown key `nam`", "did you mean `name`?"),
        ("steps:\n  a: {prompt: p, decid: x}", 2, 18, "unknown key `decid`", "did you mean `decide`?"),
        ("items:\n- {}\n- {stp: x}", 3, 4, "unknown key `stp`", "did you mean `stop`?"),
        (
            "steps:\n  a: {prompt: p, options: {temprature: 1}}",
            2,
            28,
            "unknown key `temprature`",
            "did you mean `temperature`?",
        ),
        ("steps:\n  a: {}", 2, 3, "`prompt` is missing", None),
        ("steps:\n  a:\n", 2, 5, "`a`: must be a mapping, not empty", None),
        ("steps: [a]", 1, 8, "`steps`: must be a mapping, not a list", None),
        ("- a", 1, 1, "must be a mapping, not a list", None),
        ("name: 3", 1, 7, "`name`: must be text, not `3`", None),
        ("name: true", 1, 7, "`name`: must be text, not `true`", None),
        ("steps: {a: {prompt: p, answer: [1]}}", 1, 32, "`answer`: must be text or a mapping, not a list", None),
        ("steps: {a: {prompt: bad}}", 1, 21, "`prompt`: no such prompt", None),
        (
            "steps: {a: {prompt: p, decide: constrian}}",
            1,
            32,
            "`decide`: must be 'constrain' or 'generate', not `constrian`",
            "did you mean `constrain`?",
        ),
        ("items: [{stop: x}]", 1, 16, "`stop`: must be a list, not `x`", None),
        ("items: [{temperature: warm}]", 1, 23, "`temperature`: must be a number, not `warm`", None),
    ],
)
def test_a_mistake_has_its_place_and_says_what_is_expected(
    text: str, line: int, column: int, message: str, hint: str | None
) -> None:
    assert problems_of(text) == [Problem(message, "x.yaml", line, column, hint)]


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    text = "nam: x\nsteps:\n  a: {promt: p}\n  b: 3\nitems: 3\n"
    assert [problem.line for problem in problems_of(text)] == [1, 3, 3, 4, 5]


def test_the_places_count_from_the_top_of_the_file_for_a_part_of_it() -> None:
    problems = problems_of("a:\n  b: {promt: p}\n", at=("a", "b"), model=Step)
    assert [(problem.line, problem.column) for problem in problems] == [(2, 3), (2, 7)]


def test_problems_of_several_parts_are_raised_together() -> None:
    problems = Problems()
    with problems.gather():
        load("a: *x", file="b.yaml")
    with problems.gather():
        load("a: *x", file="a.yaml")
    problems.add(Problem("again", "b.yaml", 1, 4))
    problems.add(Problem("again", "b.yaml", 1, 4))
    with pytest.raises(InputError) as caught:
        problems.check()
    assert [problem.file for problem in caught.value.problems] == ["a.yaml", "b.yaml", "b.yaml"]


def test_no_problems_raise_nothing() -> None:
    Problems().check()
