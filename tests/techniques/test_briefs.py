"""Every request that thinks, judges, plans, decomposes or writes a program knows the task and what its answer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.build import build_answer_type
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.render import example_file
from promptkit.errors import RequestRefused
from promptkit.project import Project
from promptkit.prompts.prompt import Layer
from promptkit.runtimes.base import Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import Scripted, load_script, request_text
from promptkit.techniques.artifacts import read_artifact
from promptkit.techniques.context import CallRecord, StepContext
from promptkit.techniques.description import call_specs
from promptkit.techniques.perform import perform
from promptkit.tools.base import Tool
from tests.techniques.test_catalog import CATALOG, NEWER, PROJECT, abilities, technique

OPTIONS = ["OPTONE", "OPTTWO"]
CHOICE: tuple[Any, list[str]] = {"choice": OPTIONS}, OPTIONS
SEAS = ["Baltic Sea", "Black Sea", "North Sea"]
NUMBER: tuple[Any, list[str]] = {"number": {"max": 98765}}, ["98765"]
ANSWERS: dict[str, tuple[Any, list[str]]] = {
    **dict.fromkeys(("auto_cot", "complex_cot", "math_prompter", "synthetic_prompting", "plan_and_solve"), NUMBER),
    **dict.fromkeys(NEWER, NUMBER),
    "reflexion": ({"code": "python"}, ["block of python code"]),
    "active_prompt": ("boolean", ["true or false"]),
    "annotation_guideline": ({"spans": {"classes": ["person", "place"], "text": "{{ text }}"}}, ["person, place"]),
    "maieutic": ({"label": OPTIONS}, OPTIONS),
    "chain_of_knowledge": ({"label": SEAS}, SEAS),
}
"""The answer of a technique that takes no choice, or whose prepared examples have another; the words that tell it."""

PASSAGE = "answers a fact from passages or by itself, apart from the task"
STATEMENT = "judges a statement, which is true or false whatever the task's answer is called"
HOP = "asks a question of its own about the input"
EXEMPT = {
    "verify_and_edit.verify": PASSAGE,
    "chain_of_verification.execute": PASSAGE,
    "chain_of_knowledge.edit": PASSAGE,
    "chain_of_knowledge.query": PASSAGE,
    "decomposed.handler": PASSAGE,
    "step_back.background": PASSAGE,
    "maieutic.belief": STATEMENT,
    "maieutic.explain": STATEMENT,
    "maieutic.negate": STATEMENT,
    "maieutic.relate": STATEMENT,
    "three_hop.aspect": HOP,
    "three_hop.opinion": HOP,
    "math_prompter.template": "only puts letters in place of numbers",
    "federated.paraphrase": "only rewords the question",
    "system_2_attention.rewrite": "must not see the task, which may suggest an answer",
    "chain_of_code.emulate": "carries out one line of a program",
    "binder.map": "answers a question about each value of a column",
    "binder.ans": "answers a question about a part of the table",
    "dater.cloze": "states facts without their values",
    "dater.sql": "fills in one fact",
}
"""Calls that do not carry the task and its options, and why."""

UNREACHED = {
    "active_prompt": {"pool", "extract"},
    "annotation_guideline": {"rule"},
    "auto_cot": {"reason", "extract"},
    "binder": {"ans"},
    "chain_of_table": {"add_column", "add_value", "group_column", "select_column"},
    "federated": {"label", "answer"},
    "react": {"action"},
    "synthetic_prompting": {"words", "question"},
}
"""Calls of a preparation, and those that neither the example nor a variant of it makes."""


@dataclass(frozen=True)
class Variant:
    """Settings and replies under which a technique makes calls that its example does not.

    `replies` are pairs of words and a reply; the first request with the words gets it, and the pair is used up.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    replies: tuple[tuple[str, str], ...] = ()


BROKEN = Variant(replies=(("", "def solution(:"),))
"""A first program that cannot run."""
NUMBERS = (("", "1"), ("", "2"))
VARIANTS: dict[str, list[Variant]] = {
    "function_calling": [Variant({"rounds": 1})],
    "tree_of_thoughts": [Variant({"generate": "sample", "evaluate": "vote", "depth": 2})],
    "chain_of_verification": [Variant({"variant": variant}) for variant in ("joint", "two_step", "revise")],
    "chain_of_knowledge": [Variant({"write_queries": True, "threshold": 1.0})],
    "math_prompter": [
        Variant({"template": "model", "rounds": 1, "cap": 1}),
        Variant(replies=(("Write a Python function", "    return ("),)),
    ],
    "chain_of_event": [Variant({"variant": "single"})],
    "pal": [BROKEN],
    "chain_of_code": [BROKEN],
    "program_of_thoughts": [
        BROKEN,
        Variant({"keep_prompting": True}, (("", "```python\nans = 5\nkeep_prompting = True\n```"),)),
    ],
    "step_back": [Variant({"variant": "principles"})],
    "rephrase_and_respond": [Variant({"variant": "one_step"})],
    "universal_self_consistency": [Variant(replies=NUMBERS)],
    "best_of_n": [Variant(replies=NUMBERS)],
    "adaptive_self_consistency": [Variant({"weigh": "judge"}), Variant({"weigh": "logprob"})],
    "self_refine": [Variant(replies=NUMBERS)],
    "reflexion": [Variant({"evaluator": "judge"}, (*NUMBERS, ("Check it step by step", "Verdict: wrong")))],
}


def scripted(rules: Scripted, variant: Variant) -> Callable[[Request], Any]:
    """Return a script that gives the variant's replies first, and those of the example else."""
    left = list(variant.replies)

    async def script(request: Request) -> Any:
        if request.begun.startswith("Label of a true statement"):
            return OPTIONS[0]
        for words, reply in left:
            if words in request_text(request):
                left.remove((words, reply))
                return reply
        try:
            return await rules.answer(request)
        except RequestRefused:
            return "1. Is it so?\n2. It is false."

    return script


async def requests_of(name: str, folder: Path) -> list[CallRecord]:
    """Return the requests of a technique's example and variants, with marks in its instructions and its answer."""
    file, replies = example_file(name, PROJECT), PROJECT.find_template("techniques", name)
    assert file is not None and replies is not None
    pipeline = load_target(file, Project.find(file))
    values = fill_inputs(pipeline).values
    call = next(step.prompt_call for step in pipeline.steps.values() if step.prompt_call is not None)
    given = call.technique if isinstance(call.technique, dict) else {call.technique: {}}
    marked = folder / "marked.j2"
    marked.write_text("{% extends prompt %}\n{% block instructions %}{{ super() }} INSTRMARK{% endblock %}\n")
    records: list[CallRecord] = []
    for variant in (Variant(), *VARIANTS.get(name, [])):
        script = scripted(load_script(replies / "replies.yaml", "scripted"), variant)
        step = StepContext(
            prompt=call.prompt,
            values=values,
            inputs=call.inputs,
            answer=build_answer_type(ANSWERS.get(name, CHOICE)[0]),
            client=Client(Scripted(script, capabilities=abilities(name))),
            project=pipeline.project,
            folder=call.technique_folder,
            artifacts={made: artifact for made, file in call.artifacts.items() if (artifact := read_artifact(file))},
            tools={tool: each for tool, each in call.tools.items() if isinstance(each, Tool)},
            layers=(Layer(marked, {}),),
            record=records.append,
        )
        await perform({name: {**(given[name] or {}), **variant.settings}}, step)
    return records


@pytest.mark.parametrize("name", CATALOG)
async def test_every_request_carries_the_task_and_its_options(name: str, tmp_path: Path) -> None:
    words = ["INSTRMARK", *ANSWERS.get(name, CHOICE)[1]]
    records = await requests_of(name, tmp_path)

    missing = {
        f"{name}.{record.call}": [word for word in words if word not in request_text(record.request)]
        for record in records
    }
    lacking = {call: found for call, found in missing.items() if found and call not in EXEMPT}
    assert not lacking
    sent = {call.name for call in call_specs(technique(name)) if not call.modifier}
    assert sent - {record.call for record in records} == UNREACHED.get(name, set())


def test_every_exemption_is_of_a_call_that_there_is() -> None:
    calls = {f"{name}.{call.name}" for name in CATALOG for call in call_specs(technique(name))}

    assert EXEMPT.keys() <= calls
