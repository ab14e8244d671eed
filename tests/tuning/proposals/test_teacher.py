"""The prompt of a teacher, the fate of its proposals, and the cases without a teacher."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.errors import BudgetSpent, ServerFailed
from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels, answer_key, label_file
from promptkit.prompts.template_loader import render_file
from promptkit.runtimes.base import Model, Reply, Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import CAPABILITIES, Scripted, ScriptedAnswer
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.proposals.proposer import Proposals, fenced, propose, why_not_taught
from promptkit.tuning.proposals.reflection import TEMPLATE
from promptkit.tuning.proposals.teacher import why_not_own_teacher
from promptkit.tuning.search_space.candidate import Candidate, Choice
from tests.engine.helpers import Folder, said
from tests.evaluation.suites import PROMPT, Bench, echo, moods
from tests.tuning.evaluators import open_evaluator, places
from tests.tuning.scoring import SCORE, model, odds
from tests.tuning.tunings import truth

START = Candidate()
WRONG = "Score, from 0 (wrong) to 1 (right): 0.00\n"
BETTER = "Judge the tone of the whole message."
OWN = """
name: mood
inputs: {text: {example: fine}}
steps:
  mood:
    prompt: {instructions: "INSTRUCTIONS", input: "{{ text }}"}
    answer: {label: [good, bad]}
    decide: generate
"""
TWO_STEPS = """
name: reply
inputs: {text: {example: fine}}
steps:
  topic:
    prompt: {instructions: Name the topic., input: "{{ text }}"}
    answer: text
    decide: generate
  mood:
    prompt: {instructions: Say whether it is good or bad., input: "{{ text }} on {{ topic }}"}
    answer: {label: [good, bad]}
    decide: generate
output: "{{ mood }}"
"""


class Teacher(Scripted):
    """A teacher with given replies, by the number of the proposal."""

    def __init__(self, *replies: ScriptedAnswer, **how: Any) -> None:
        super().__init__(lambda request: replies[int(request.sample)], **how)

    @property
    def shown(self) -> list[str]:
        by_number = sorted(self.requests, key=lambda request: int(request.sample))
        return [request.messages[0].content for request in by_number]


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(12))


@asynccontextmanager
async def asked(bench: Bench, script: Any = echo, suite: Any = None) -> AsyncIterator[Evaluator]:
    """Open a field in which the start was asked all rows."""
    async with open_evaluator(bench, script, suite) as opened:
        await opened.evaluator.evaluate([START], places(opened.evaluator))
        yield opened.evaluator


async def proposed(
    evaluator: Evaluator, teacher: Scripted, *, most: int = 1, step: str = "mood", earlier: Sequence[Candidate] = ()
) -> Proposals:
    return await propose(
        evaluator, places(evaluator), START, step, Client(teacher, attempts=1), most=most, earlier=earlier
    )


async def test_a_proposal_is_a_candidate_with_other_instructions(bench: Bench) -> None:
    async with asked(bench) as evaluator:
        found = await proposed(evaluator, Teacher(f"Here you are:\n```\n{BETTER}\n```\n"))
        await evaluator.evaluate(found.candidates, [0])

        prompt = evaluator.variant(found.candidates[0]).pipeline.steps["mood"].prompt
        assert prompt is not None
        assert prompt.sections({"text": "a film"}) == {"instructions": BETTER, "input": "a film", "cue": "Mood:"}
        assert found.candidates[0].record() == {"mood.wording": "teacher 1"}
        assert found.refused == ()


async def test_the_teacher_is_shown_the_instructions_and_what_failed_and_how(bench: Bench) -> None:
    bench.rows([*moods(6), {"text": "bad {{ text }}\n```\nand more", "expect": "bad"}])

    def script(request: Request) -> str:
        return "perhaps it is so" if "more" in said(request) else echo(request)

    async with asked(bench, script) as evaluator:
        teacher = Teacher(BETTER)
        await proposed(evaluator, teacher)

    shown = teacher.shown[0]
    assert "```\nSay whether it is good or bad.\n```" in shown
    assert "Of 7 answers 4 were wrong" in shown
    assert '3 times the answer was "good" where "bad" is right:\ntext:\n> good 1\n' in shown
    replied = f"The model replied:\n> perhaps it is so\n{WRONG}Right is:\n> bad"
    assert f"text:\n> bad {{{{ text }}}} ``` and more\n{replied}" in shown
    assert "bad 0" not in shown


async def test_the_teacher_reads_the_reasons_that_people_gave_with_their_labels(bench: Bench) -> None:
    bench.rows(moods(6))
    given = {"metric": "accuracy", "answer": "good", "level": "wrong", "drawn": "random", "why": "the film is panned"}
    label = AnswerLabel.model_validate({**given, "key": answer_key({"text": "good 1"}, "good")})
    AnswerLabels(label_file(bench.folder.root / "evals/test.yaml")).add(label)

    async with asked(bench) as evaluator:
        teacher = Teacher(BETTER)
        await proposed(evaluator, teacher)

    assert "Right is:\n> bad\nA reviewer's comment on this answer:\n> the film is panned\n" in teacher.shown[0]
    assert teacher.shown[0].count("A reviewer's comment") == 1


async def test_a_slice_in_which_more_fails_is_shown(bench: Bench) -> None:
    bench.rows([{**entry, "shop": "north" if number % 2 else "south"} for number, entry in enumerate(moods(20))])
    async with asked(bench) as evaluator:
        teacher = Teacher(BETTER)
        await proposed(evaluator, teacher)

    assert '10 of 10 answers were wrong where shop is "north":' in teacher.shown[0]


async def test_each_proposal_begins_with_another_kind_of_failure(bench: Bench) -> None:
    def script(request: Request) -> str:
        return "perhaps" if "\nbad " in said(request) else echo(request)

    async with asked(bench, script) as evaluator:
        teacher = Teacher(BETTER, BETTER, BETTER)
        await proposed(evaluator, teacher, most=3)

    first = [min(("times the answer was", "could not be read"), key=text.index) for text in teacher.shown]
    assert first[0] == first[2] != first[1]


async def test_of_a_pipeline_the_step_s_own_inputs_and_answer_are_shown_and_the_end(bench: Bench) -> None:
    bench.folder.write("pipelines/reply.yaml", TWO_STEPS)
    suite = bench.suite("data: rows.jsonl\ntarget: reply\nmetrics: {accuracy: label}\n")

    def script(request: Request) -> str:
        return "the film" if "Name the topic" in said(request) else echo(request)

    async with asked(bench, script, suite) as evaluator:
        of_mood, of_topic = Teacher(BETTER), Teacher(BETTER)
        await proposed(evaluator, of_mood)
        await proposed(evaluator, of_topic, step="topic")

    assert (
        f"text:\n> good 1\ntopic:\n> the film\nThe model's answer:\n> good\n{WRONG}Right is:\n> bad" in of_mood.shown[0]
    )
    assert (
        "text:\n> good 1\nThe model's answer:\n> the film\n"
        "What came of it in the end:\n> good\nScore, from 0 (wrong) to 1 (right): 0.00\nRight is in the end:\n> bad"
        in of_topic.shown[0]
    )


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "it is empty"),
        ("```\n```", "it is empty"),
        ("<think>Hm. Be strict.</think>", "it is empty"),
        ("```\nSay whether it is GOOD or bad\n```", "it is the same as the current instructions"),
        ("```\nJudge {{ tone }}.\n```", "it uses `{{ tone }}`, which is not an input"),
        ('```\n{% include "../../secret.j2" %}\n```', "it has template statements (`{% … %}`)"),
        ("```\nfor example, good 1: bad\n```", "it gives away a row's answer"),
        ("```\n" + "Judge. " * 200 + "\n```", "it has 1,399 characters, more than the 520 allowed"),
    ],
)
async def test_what_is_wrong_with_a_proposal_is_told_and_it_is_no_candidate(bench: Bench, reply: str, why: str) -> None:
    async with asked(bench) as evaluator:
        found = await proposed(evaluator, Teacher(reply))

    assert (found.candidates, [refused.why for refused in found.refused]) == ((), [why])


async def test_an_input_that_the_instructions_fill_in_must_stay(bench: Bench) -> None:
    bench.folder.write("pipelines/mood.yaml", OWN.replace("INSTRUCTIONS", "Is {{ text | upper }} good or bad?"))
    async with asked(bench, lambda request: "good") as evaluator:
        teacher = Teacher("Is it good or bad, all in all?", "Is {{ text }} good, or is it bad?")
        found = await proposed(evaluator, teacher, most=2)

    assert "Keep {{ text | upper }} in your text exactly so" in teacher.shown[0]
    assert [refused.why for refused in found.refused] == ["it drops `{{ text }}`"]
    assert len(found.candidates) == 1


async def test_a_proposal_may_not_quote_a_row_that_was_not_shown(bench: Bench) -> None:
    quoted = "the parcel came two weeks late and nobody knew why"
    bench.rows([*moods(12), {"text": f"bad {quoted}", "expect": "bad"}])
    async with asked(bench) as evaluator:
        teacher = Teacher(f"Mind that {quoted}.")
        found = await proposed(evaluator, teacher)

    assert quoted not in teacher.shown[0]
    assert [refused.why for refused in found.refused] == ["it quotes a row: 8 words in a row are the same"]


async def test_what_all_rows_say_is_no_row_s_own(bench: Bench) -> None:
    rule = "answer good or bad by the tone of the message alone"
    bench.folder.write(
        "pipelines/mood.yaml",
        f'name: mood\ninputs:\n  text: {{example: fine}}\n  rule: {{default: "{rule}"}}\nsteps:\n'
        '  mood: {prompt: {instructions: Say it., input: "{{ text }} {{ rule }}"}, answer: {label: [good, bad]}}\n',
    )
    async with asked(bench, lambda request: "good") as evaluator:
        assert (await proposed(evaluator, Teacher(f"Always {rule}!"))).refused == ()


async def test_a_proposal_is_not_made_twice(bench: Bench) -> None:
    async with asked(bench) as evaluator:
        first = await proposed(evaluator, Teacher(BETTER, BETTER.upper()), most=2)
        later = await proposed(evaluator, Teacher(BETTER), earlier=first.candidates)

    assert len(first.candidates) == 1
    assert [refused.why for refused in (*first.refused, *later.refused)] == [
        "it is the same as an earlier proposal"
    ] * 2


async def test_a_proposal_for_a_candidate_that_was_edited_keeps_the_edits(bench: Bench) -> None:
    async with asked(bench) as evaluator:
        first = (await proposed(evaluator, Teacher(BETTER))).candidates[0]
        winner = first.with_choice("mood.wording", Choice("both", {**first.changes, "mood.cue": "Tone:"}))
        await evaluator.evaluate([winner], places(evaluator))
        found = await propose(evaluator, places(evaluator), winner, "mood", Client(Teacher("Be brief.")), most=1)

        changed = found.candidates[0]
        assert changed.changes["mood.cue"] == "Tone:"
        assert evaluator.variant(changed).pipeline.steps["mood"].prompt is not None
        await evaluator.evaluate([changed], [0])


@pytest.mark.parametrize("source", ["{% if text %}Say it.{% endif %}", "{% for each in text %}{{ each }}{% endfor %}"])
async def test_instructions_with_statements_are_left_alone_and_nothing_is_asked(bench: Bench, source: str) -> None:
    bench.folder.write("pipelines/mood.yaml", OWN.replace("INSTRUCTIONS", source))
    async with asked(bench, lambda request: "good") as evaluator:
        teacher = Teacher()
        found = await proposed(evaluator, teacher)

    assert [refused.why for refused in found.refused] == [
        "the instructions of `mood` cannot be rewritten: they have template statements"
    ]
    assert teacher.requests == []


async def test_instructions_made_of_other_files_are_left_alone(bench: Bench) -> None:
    bench.folder.write("templates/prompts/_rules.j2", "Be strict.")
    included = PROMPT.replace("Say whether it is good or bad.", '{% include "_rules.j2" %}')
    bench.folder.write("templates/prompts/mood.j2", included)
    async with asked(bench, lambda request: "good") as evaluator:
        teacher = Teacher()
        found = await proposed(evaluator, teacher)

    assert [refused.why for refused in found.refused] == [
        "the instructions of `mood` cannot be rewritten: they are made of other files"
    ]
    assert teacher.requests == []


async def test_where_nothing_fails_nothing_is_asked(bench: Bench) -> None:
    async with asked(bench, lambda request: "bad") as evaluator:
        teacher = Teacher()
        assert (await proposed(evaluator, teacher)).candidates == ()
        assert teacher.requests == []


async def test_how_near_each_label_was_is_shown_where_labels_are_scored(bench: Bench) -> None:
    rows = [{"text": f"row {number} was {truth(number)}", "expect": truth(number)} for number in range(8)]
    bench.rows(rows)
    async with open_evaluator(bench, model(), bench.suite()) as opened:
        await opened.evaluator.evaluate([SCORE], places(opened.evaluator))
        teacher = Teacher(BETTER)
        await propose(opened.evaluator, places(opened.evaluator), SCORE, "mood", Client(teacher), most=1)

    wrong = next(number for number in range(1, 8, 2) if odds(number) > 0)
    good, bad = (-log(1 + exp(sign * odds(wrong))) for sign in (-1, 1))
    lines = "The model's log-probabilities of the labels (the closer to 0, the likelier):"
    assert f"{lines}\n> good {good:.2f}, bad {bad:.2f}\n{WRONG}" in teacher.shown[0]


async def test_a_teacher_of_which_every_request_fails_is_gone(bench: Bench) -> None:
    async with asked(bench) as evaluator:
        found = await proposed(evaluator, Teacher(ServerFailed("on fire"), ServerFailed("on fire")), most=2)

    assert found == Proposals(failure="on fire")


async def test_a_teacher_that_fails_ends_no_search(bench: Bench) -> None:
    async with asked(bench) as evaluator:
        found = await proposed(evaluator, Teacher(ServerFailed("on fire"), BETTER), most=2)

    assert len(found.candidates) == 1
    assert [refused.why for refused in found.refused] == ["the teacher failed: on fire"]


async def test_a_reply_that_was_cut_off_is_refused_unless_the_instructions_are_whole(bench: Bench) -> None:
    cut = Reply(text=f"```\n{BETTER}", finish="length")
    whole = Reply(text=f"```\n{BETTER}\n```\nThis is bet", finish="length")
    async with asked(bench) as evaluator:
        found = await proposed(evaluator, Teacher(cut, whole), most=2)

    assert [refused.why for refused in found.refused] == ["it was cut off"]
    assert len(found.candidates) == 1


async def test_a_teacher_that_cannot_sample_is_asked_once_about_each_kind(bench: Bench) -> None:
    async with asked(bench) as evaluator:
        teacher = Teacher(BETTER, capabilities=CAPABILITIES - {"sampling"})
        await proposed(evaluator, teacher, most=6)

    assert [request.temperature for request in teacher.requests] == [0.0]


async def test_a_teacher_that_thinks_has_room_for_it(bench: Bench) -> None:
    async with asked(bench) as evaluator:
        teacher = Teacher(BETTER, capabilities=CAPABILITIES | {"thinks"})
        await proposed(evaluator, teacher, most=1)

    assert [request.thought_tokens for request in teacher.requests] == [8192]


async def test_the_teacher_s_requests_are_counted(bench: Bench) -> None:
    async with asked(bench) as evaluator:
        budget, client = Budget(2), Client(Teacher(*[BETTER] * 3))
        await client.model()
        with pytest.raises(BudgetSpent):
            await propose(evaluator, places(evaluator), START, "mood", client.within(budget), most=3)

    assert budget.spent == 2


@given(confirm=st.lists(st.booleans(), min_size=12, max_size=12))
@settings(max_examples=12, deadline=None)
def test_nothing_of_a_confirm_row_reaches_a_teacher(confirm: list[bool]) -> None:
    marks = [f"mark{number:02}x" for number in range(12)]
    rows = [{"text": f"good {mark}", "shop": f"{mark} shop", "expect": "bad"} for mark in marks]
    kept = [row for row, is_confirm in enumerate(confirm) if not is_confirm]

    async def ask(folder: Path) -> list[str]:
        teacher = Teacher(*[f"Mind {mark}." for mark in marks])
        async with asked(Bench(Folder(folder), rows)) as evaluator:
            await propose(evaluator, kept, START, "mood", Client(teacher), most=3)
        return teacher.shown

    with tempfile.TemporaryDirectory() as folder:
        shown = "\n".join(asyncio.run(ask(Path(folder))))
    assert [mark for mark, is_confirm in zip(marks, confirm, strict=True) if is_confirm and mark in shown] == []
    assert bool(shown) == bool(kept)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("```\nA b.\n```", "A b."),
        ("Old:\n```text\nA.\n```\nNew:\n```jinja\nB.\nC.\n```\nBye.", "B.\nC."),
        ("````\nA ```x``` b.\n````", "A ```x``` b."),
        ("```A b.```", "A b."),
        ("```\nA b.", "A b."),
        (" A b.\n", "A b."),
        ("<think>\n```\nNo.\n```\n</think>\n```\nA b.\n```", "A b."),
    ],
)
def test_the_instructions_are_what_stands_in_the_last_fence_else_all(reply: str, text: str) -> None:
    assert fenced(reply, "````" if "````" in reply else "```")[0] == text


@pytest.mark.parametrize(
    ("reference", "size", "why"),
    [
        ("ollama/qwen2.5:7b", None, None),
        ("ollama/mixtral:8x7b-instruct", None, None),
        ("hf/bartowski/Qwen2.5-14B-Instruct-GGUF/Qwen2.5-14B-Instruct-Q4_K_M.gguf", None, None),
        ("gguf:models/large.gguf", 15 * 10**9, None),
        ("ollama/qwen2.5:1.5b", None, "fewer than 7B"),
        ("ollama/llama3.2:3b", 2 * 10**9, "fewer than 7B"),
        ("gguf:SmolLM2-135M-Instruct.Q4_1.gguf", None, "fewer than 1B"),
        ("embedded/smollm2", 98_362_432, "fewer than 1B"),
        ("ollama/mistral:latest", 4 * 10**9, "is not known"),
        ("openai/gpt-4o@http://localhost/v1", None, "is not known"),
    ],
)
def test_a_model_is_its_own_teacher_from_7b_parameters_on(reference: str, size: int | None, why: str | None) -> None:
    text = why_not_own_teacher(Model(reference=reference, digest="", capabilities=frozenset(), size=size))

    assert text is None if why is None else text is not None and why in text and "--teacher" in text


@pytest.mark.parametrize(
    ("rows", "left", "why"),
    [(20, 0.2, None), (18, 0.5, "9 rows fail, and 10 are wanted"), (20, 0.19, "less than 20% of the budget is left")],
)
async def test_a_teacher_enters_with_ten_failures_and_a_fifth_of_the_budget(
    bench: Bench, rows: int, left: float, why: str | None
) -> None:
    bench.rows(moods(rows))
    async with asked(bench) as evaluator:
        text = why_not_taught(evaluator, START, places(evaluator), left=left)

    assert text is None if why is None else why in str(text)


def test_data_in_the_template_are_never_template_themselves() -> None:
    case = {"inputs": [{"name": "text", "text": "{{ 1 + 1 }} {% raw %}"}], "reply": "", "said": "{{ x }}", "ended": ""}
    group = {
        "kind": "other",
        "count": 1,
        "cases": [{**case, "expected": "{# no #}", "reasons": [], "score": 0.0, "labels": []}],
    }
    values = {"about": "", "fence": "```", "instructions": "{{ text }}", "sections": [], "answer": "", "asked": 1}

    text = render_file(TEMPLATE, {**values, "failed": 1, "groups": [group], "variables": [], "longest": 400})

    assert all(f"> {said}\n" in text for said in ("{{ 1 + 1 }} {% raw %}", "{{ x }}", "{# no #}"))
