"""The pages name every key that a file may hold."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from pydantic import BaseModel

from promptkit.engine.spec import InputSpec, OptionsSpec, PipelineSpec, StepSpec
from promptkit.project import ProjectSettings
from promptkit.prompts import FRONT_MATTER_KEYS, SECTIONS
from promptkit.prompts.examples import FileExamples
from promptkit.runtimes.base import Capability
from promptkit.runtimes.references import FORMS
from promptkit.runtimes.scripts import GivenReply, Rule, ScriptFile
from promptkit.techniques.calls import CallFront
from tests.docs.pages import ROOT


def keys(*models: type[BaseModel]) -> set[str]:
    return {field.alias or name for model in models for name, field in model.model_fields.items()}


def named(page: str) -> set[str]:
    """Return the words that a page shows as code."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    return set(re.findall(r"\w+", " ".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))))


@pytest.mark.parametrize(
    ("page", "known"),
    [
        ("prompts.md", {*FRONT_MATTER_KEYS, *SECTIONS, *keys(InputSpec, FileExamples)}),
        ("pipelines.md", keys(PipelineSpec, StepSpec, OptionsSpec, InputSpec)),
        ("models.md", {*keys(ScriptFile, Rule, GivenReply), *get_args(Capability), *FORMS}),
        ("writing-a-technique.md", set(CallFront.model_fields)),
        ("project.md", keys(ProjectSettings)),
    ],
)
def test_a_page_names_every_key(page: str, known: set[str]) -> None:
    assert known - named(page) == set()
