"""The pages name every key that a file may hold."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import promptkit
from promptkit.api.evaluate import EvalArguments
from promptkit.api.tune import TuneArguments
from promptkit.engine.spec import InputSpec, OptionsSpec, PipelineSpec, StepSpec, ToolSpec
from promptkit.evaluation.metrics.registry import kind_named, kinds
from promptkit.evaluation.recommendation.recommend import Flag
from promptkit.evaluation.serving.spec import ServingSpec
from promptkit.evaluation.suite.conversation import ConversationSpec
from promptkit.evaluation.suite.data import DataSpec, SplitSpec
from promptkit.evaluation.suite.spec import BoundSpec, CompareSpec, StepSuiteSpec, SuiteSpec, TargetSpec
from promptkit.project import LIBRARY, FeedSettings, McpServer, Project, ProjectSettings
from promptkit.prompts.example_files import ExamplesSettings
from promptkit.prompts.front_matter import FrontMatter
from promptkit.prompts.sections import SECTIONS
from promptkit.runtimes.base import Capability
from promptkit.runtimes.references import REFERENCE_FORMS
from promptkit.runtimes.scripted import ScriptFile, ScriptReply, ScriptRule
from promptkit.server.http.chat import REFUSED
from promptkit.server.http.errors import REASONS
from promptkit.techniques.calls import CallFront, Card
from promptkit.techniques.description import technique_record
from promptkit.techniques.registry import find_technique
from promptkit.techniques.task import Task
from promptkit.tuning.options import OPTIMIZERS, PREFERENCE_INPUTS, PREFERENCES
from promptkit.tuning.search_space.candidate import KINDS
from tests.docs.pages import ROOT
from tests.reports.demo_tuning import demo_tuning


def keys(*models: type[BaseModel]) -> set[str]:
    return {field.alias or name for model in models for name, field in model.model_fields.items()}


def offered(kind: type) -> set[str]:
    """Return what an object offers to whoever writes a technique."""
    return {name for name in dir(kind) if not name.startswith("_")}


def technique_keys() -> set[str]:
    """Return the keys of a technique's JSON object."""
    vanilla = find_technique("vanilla", Project(LIBRARY / "pipelines" / "techniques"))
    assert vanilla
    return set(technique_record(vanilla))


def python_parameters() -> set[str]:
    """Return the parameters of the Python functions."""
    functions = (promptkit.load, promptkit.render, promptkit.run, promptkit.evaluate, promptkit.compare, promptkit.tune)
    names = {name for function in functions for name in inspect.signature(function).parameters}
    return (names - {"options"}) | EvalArguments.__annotations__.keys() | TuneArguments.__annotations__.keys()


def tuning_keys(part: Any) -> Iterator[str]:
    """Yield the keys of a tuning's record; those of what it chose are the person's."""
    for each in part if isinstance(part, list) else [part]:
        for key, value in each.items() if isinstance(each, dict) else ():
            yield key
            yield from () if key in ("choices", "changes") else tuning_keys(value)


def server_words() -> set[str]:
    """Return the codes of the server's own errors, and its options."""
    sources = (path.read_text("utf-8") for path in (ROOT / "promptkit" / "server" / "http").glob("*.py"))
    codes = {code for source in sources for code in re.findall(r'HttpError\(\s*\d+,[^)]*?"([a-z_]+)"[,)]', source)}
    options = {"max_body", "max_requests", "max_waiting", "read_timeout", "deadline", "grace"}
    assert codes > {"invalid_token", "body_too_large"}
    return codes | {word for name in options for word in name.split("_")}


def named(page: str) -> set[str]:
    """Return the words that a page shows as code."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    return set(re.findall(r"\w+", " ".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))))


@pytest.mark.parametrize(
    ("page", "known"),
    [
        ("prompts.md", {*SECTIONS, *keys(FrontMatter, InputSpec, ExamplesSettings)}),
        ("pipelines.md", keys(PipelineSpec, StepSpec, OptionsSpec, InputSpec)),
        ("tools.md", keys(ToolSpec)),
        ("shipped-tools.md", keys(FeedSettings, McpServer)),
        ("models.md", {*keys(ScriptFile, ScriptRule, ScriptReply), *get_args(Capability), *REFERENCE_FORMS}),
        ("writing-a-technique.md", {*CallFront.model_fields, *Card.model_fields, *offered(Task)}),
        ("command-line.md", {*get_args(Flag), *technique_keys(), *tuning_keys(demo_tuning())}),
        ("tuning.md", {*KINDS[:-1], *OPTIMIZERS, *PREFERENCE_INPUTS, *PREFERENCES}),
        ("python.md", {*promptkit.__all__, *python_parameters()}),
        ("project.md", keys(ProjectSettings)),
        (
            "evaluating.md",
            keys(SuiteSpec, CompareSpec, DataSpec, SplitSpec, TargetSpec, StepSuiteSpec, ServingSpec, ConversationSpec),
        ),
        ("metrics.md", {*kinds(), *keys(*(kind_named(word).Parameters for word in kinds()))}),
        ("ci.md", keys(BoundSpec)),
        ("serve.md", {*REFUSED, *(reason.code for _, reason in REASONS), *server_words()}),
    ],
)
def test_a_page_names_every_key(page: str, known: set[str]) -> None:
    assert known - named(page) == set()
