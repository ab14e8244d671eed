"""Kinds of choices: the same for choices that ask alike in any project, and nothing of the project in them."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.tuning.prior.choice_kinds import choice_kinds
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter, ParameterKind
from tests.engine.helpers import Folder
from tests.tuning.tunings import PROMPT


@pytest.fixture
def project(folder: Folder) -> Folder:
    folder.write("templates/prompts/mood.j2", PROMPT)
    folder.write("templates/layouts/mine.j2", "{{ prompt }}")
    folder.write("pipelines/mood.yaml", "name: mood\ninputs: {text: {}}\nsteps:\n  mood: {prompt: mood}\n")
    return folder


def kinds(project: Folder, kind: ParameterKind, **choices: dict[str, Any]) -> dict[str, str]:
    """Return the kinds of one parameter's choices; a name may have blanks for underscores."""
    parameter = Parameter(
        name=f"mood.{kind}",
        step="mood",
        kind=kind,
        choices=tuple(
            Choice(name.replace("_", " "), {f"mood.{key}": value for key, value in changes.items()})
            for name, changes in choices.items()
        ),
    )

    def pipeline_of(candidate: Candidate) -> Pipeline:
        return load_target(project.root / "pipelines/mood.yaml", project.project, changes=candidate.changes)

    return choice_kinds([parameter], pipeline_of).get(parameter.name, {})


def test_a_cue_is_none_the_layout_s_or_one_of_its_own(project: Folder) -> None:
    found = kinds(
        project, "decide", written={}, mine={"cue": "My secret:"}, layouts={"cue": "Answer:", "layout": "markdown"}
    )

    assert found == {
        "written": "decide: generate, no cue",
        "mine": "decide: generate, a cue of its own",
        "layouts": found["layouts"],
    }


def test_the_written_choice_is_told_by_what_it_asks_and_not_as_written(project: Folder) -> None:
    before = kinds(project, "decide", written={})["written"]
    project.write("templates/prompts/mood.j2", PROMPT.replace("cue: none", 'cue: "Mood:"'))

    assert before == "decide: generate, no cue"
    assert kinds(project, "decide", written={})["written"] == "decide: generate, a cue of its own"


def test_examples_are_told_by_their_number(project: Folder) -> None:
    two = [{"input": {"text": f"secret {number}"}, "output": "good"} for number in range(2)]

    assert kinds(project, "examples", none={}, drawn={"examples": two}) == {
        "none": "examples: 0 examples",
        "drawn": "examples: 2 examples",
    }


def test_a_layout_of_the_project_has_no_kind_and_a_shipped_one_its_name(project: Folder) -> None:
    found = kinds(project, "layout", json={"layout": "json"}, mine={"layout": "mine"}, turns={"messages": "turns"})

    assert found.keys() == {"json", "turns"}
    assert found["json"] == "layout: json, messages one"
    assert found["turns"].endswith("messages turns")


def test_a_technique_is_told_by_its_name_without_its_settings(project: Folder) -> None:
    found = kinds(project, "technique", thinks={"technique": {"self_consistency": {"samples": 3}}})

    assert found == {"thinks": "technique: self_consistency"}


def test_an_edit_by_rule_has_its_name_and_a_text_of_the_project_none(project: Folder) -> None:
    found = kinds(project, "wording", without_persona={}, variant_secret={}, persona_in_one_sentence={})

    assert found == {
        "without persona": "wording: without persona",
        "persona in one sentence": "wording: persona in one sentence",
    }


def test_free_settings_and_choices_that_cannot_be_have_none(project: Folder) -> None:
    assert kinds(project, "given", eight={"options.max_tokens": 8}) == {}
    assert kinds(project, "layout", gone={"layout": "nowhere"}) == {}


def test_nearest_examples_are_a_kind_of_their_own(project: Folder) -> None:
    pool = [{"input": {"text": f"It is {word}."}, "output": "good"} for word in ("fine", "well", "right")]
    found = kinds(
        project, "examples", near={"examples": {"nearest": 2, "by": "words", "from": pool}}, all={"examples": pool}
    )

    assert found == {"near": "examples: 2 nearest examples by words", "all": "examples: 3 examples"}
