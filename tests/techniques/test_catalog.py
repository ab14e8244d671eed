"""The catalog as a whole: each technique that the project is for is there, described, with an example that runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import nodes

from promptkit.engine.load import load_target
from promptkit.engine.render import example_file, run_example
from promptkit.project import LIBRARY, Project
from promptkit.prompts.front_matter import cut_front_matter
from promptkit.prompts.sandbox import ENVIRONMENT
from promptkit.runtimes.base import Capability
from promptkit.runtimes.scripted import CAPABILITIES
from promptkit.techniques.cost import cost
from promptkit.techniques.description import call_specs
from promptkit.techniques.registry import find_technique, technique_names
from promptkit.techniques.spec import configure

SURVEYED = [
    "vanilla",
    "chain_of_thought",
    "self_consistency",
    "ensemble_refinement",
    "auto_cot",
    "complex_cot",
    "program_of_thoughts",
    "least_to_most",
    "chain_of_symbol",
    "structured_cot",
    "plan_and_solve",
    "math_prompter",
    "contrastive_cot",
    "federated",
    "analogical",
    "synthetic_prompting",
    "tree_of_thoughts",
    "logical_thoughts",
    "maieutic",
    "verify_and_edit",
    "react",
    "active_prompt",
    "thread_of_thought",
    "implicit_rag",
    "system_2_attention",
    "instructed",
    "chain_of_verification",
    "chain_of_knowledge",
    "chain_of_code",
    "pal",
    "binder",
    "dater",
    "chain_of_table",
    "decomposed",
    "three_hop",
    "metacognitive",
    "chain_of_event",
    "term_definitions",
    "annotation_guideline",
]
"""The techniques of the survey of Vatsal and Dubey."""

NEWER = [
    "chain_of_draft",
    "step_back",
    "rephrase_and_respond",
    "skeleton_of_thought",
    "universal_self_consistency",
    "adaptive_self_consistency",
    "best_of_n",
    "self_refine",
    "reflexion",
    "debate",
    "budget_forcing",
    "function_calling",
]
CATALOG = [*SURVEYED, *NEWER]

TAGS = "OBJECTIVE_AND_PERSONA|INSTRUCTIONS|CONSTRAINTS|CONTEXT|OUTPUT_FORMAT|FEW_SHOT_EXAMPLES|INPUT|RECAP"
EMPTY_LINE_IN_A_SECTION = re.compile(rf"<(?:{TAGS})>\n\n|\n\n</(?:{TAGS})>")

PROJECT = Project(LIBRARY / "pipelines" / "techniques")


def abilities(name: str) -> frozenset[Capability]:
    """Return what a scripted runtime can do, and that it thinks, or calls functions, where a technique is for such
    models.
    """
    more: set[Capability] = {"thinks"} if "thinks" in technique(name).needs else set()
    return CAPABILITIES | more | ({"function_calls"} if "function_calls" in technique(name).card.soft else set())


def technique(name: str) -> Any:
    found = find_technique(name, PROJECT)
    assert found is not None
    return found


def test_the_thirty_nine_of_the_survey_are_there_the_newer_ones_and_no_others() -> None:
    assert len(SURVEYED) == 39
    assert technique_names(PROJECT) == sorted(CATALOG)


ANSWERABLE = [name for name in CATALOG if "thinks" not in technique(name).needs]
"""The techniques that also a model answers that does not think by itself, such as the embedded one."""


@pytest.mark.parametrize("name", CATALOG)
def test_a_technique_is_described(name: str) -> None:
    card = technique(name).card

    assert card.title and card.about and card.algorithm and card.growth
    assert card.citation and (card.citation.arxiv or card.citation.doi)
    assert card.tasks


@pytest.mark.parametrize("name", CATALOG)
def test_every_call_says_what_it_is(name: str) -> None:
    calls = call_specs(technique(name))

    assert calls
    assert all(call.about for call in calls)


@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("decide", ["generate", "constrain"])
def test_the_formulas_work_out_at_the_defaults(name: str, decide: str) -> None:
    found = cost(configure(name, PROJECT), PROJECT, decide=decide)

    assert 1 <= found.depth <= found.requests
    assert found.calls >= 1


@pytest.mark.parametrize("name", CATALOG)
async def test_the_example_is_right_and_its_replies_lead_to_an_answer(name: str) -> None:
    result = await run_example(technique(name), PROJECT)

    assert result is not None
    assert result.error is None
    assert result.output is not None


@pytest.mark.parametrize("name", CATALOG)
async def test_the_example_makes_no_call_of_more_than_its_formula_says(name: str) -> None:
    file = example_file(name, PROJECT)
    assert file is not None
    pipeline = load_target(file, Project.find(file))
    result = await run_example(technique(name), PROJECT)
    assert result is not None

    for step, asked in result.steps.items():
        asking = pipeline.steps[step].prompt_call
        if asking is None or pipeline.steps[step].for_each is not None:
            continue
        thinks = any(example.thoughts for example in asking.examples.all)
        chosen = configure(asking.technique, pipeline.project)
        assert asked.calls <= cost(chosen, pipeline.project, decide=asking.decide, examples_think=thinks).requests


@pytest.mark.parametrize("name", CATALOG)
async def test_no_prompt_of_the_example_has_blank_lines_in_a_row_or_an_empty_section(name: str) -> None:
    result = await run_example(technique(name), PROJECT)
    assert result is not None

    requests = [call.request for node in result.trace.nodes() for call in node.calls]
    texts = [message.content for request in requests for message in request.messages if message.role == "user"]
    texts += [request.prompt.partition("\n<|assistant|>")[0] for request in requests if request.prompt]
    assert texts
    for text in texts:
        assert "\n\n\n" not in text
        assert not EMPTY_LINE_IN_A_SECTION.search(text)
        assert not text.endswith("\n")


@pytest.mark.parametrize("name", CATALOG)
def test_a_template_imports_macros_in_blocks_alone_so_that_none_hides_an_input_of_its_name(name: str) -> None:
    for file in (LIBRARY / "templates" / "techniques" / name).rglob("*.j2"):
        tree = ENVIRONMENT.parse(cut_front_matter(file.read_text())[1])
        layers = tree.find(nodes.Extends) is not None

        assert not (layers and [node for node in tree.body if isinstance(node, nodes.Import | nodes.FromImport)]), file


def test_an_artifact_is_no_pipeline(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "a.yaml").write_text("name: a\n")
    (tmp_path / "pipelines" / "a.step.auto_cot.yaml").write_text("technique: auto_cot\n")

    assert "a.step.auto_cot" not in Project(tmp_path).names("pipelines")
