"""`chain_of_verification` (Dhuliawala et al. 2024): the variants differ in what the questions are answered from."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.catalog.chain_of_verification import read_answers
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, flat, in_order, marked_example, routed

QUESTION = "Who was born in Boston? TAGQ"
DRAFT = "1. Ann DRAFT1\n2. Bob"
PLAN = "1. Where was Ann born?\n2. Where was Bob born?"
FINAL = "1. Ann"
ASKED = ("Where was Ann born?", "Where was Bob born?")


def bench_of(folder: Path, script: Any, **settings: Any) -> Bench:
    return Bench(folder, script, "text", **settings)


async def ask(bench: Bench, decide: Any = "generate", **parameters: Any) -> Any:
    spec = {"chain_of_verification": parameters}
    answer = await perform(spec, bench.step(decide=decide, values={"question": QUESTION}))
    most = cost(configure(spec, bench.project), bench.project, decide=decide)
    assert most.calls == most.requests >= len(bench.records)
    assert most.depth >= max(record.level for record in bench.records)
    return answer


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_factored_answers_each_question_alone_and_pairs_them_in_the_plans_order(
    tmp_path: Path, decide: str
) -> None:
    bench = bench_of(tmp_path, [DRAFT, PLAN, "Boston", "Paris", FINAL])

    answer = await ask(bench, decide)

    first, second = bench.texts[2:4]
    assert answer.value == FINAL
    assert len(bench.texts) == 5
    assert ASKED[0] in first and ASKED[1] not in first
    assert ASKED[1] in second and ASKED[0] not in second
    assert not any(word in text for text in (first, second) for word in ("DRAFT1", "TAGQ"))
    assert in_order(bench.texts[4], [QUESTION, "DRAFT1", ASKED[0], "Boston", ASKED[1], "Paris"])


async def test_the_pairing_holds_when_the_answers_arrive_in_another_order(tmp_path: Path) -> None:
    import asyncio

    second_is_answered = asyncio.Event()

    async def script(request: Any) -> str:
        text = flat(request)
        if "Rewrite the answer" in text:
            return FINAL
        if "Answer the question briefly" in text:
            if ASKED[1] in text:
                second_is_answered.set()
                return "Paris"
            await second_is_answered.wait()
            return "Boston"
        return PLAN if "Write short questions" in text else DRAFT

    bench = bench_of(tmp_path, script)

    await ask(bench)

    assert in_order(bench.texts[4], [ASKED[0], "Boston", ASKED[1], "Paris"])


async def test_what_may_run_at_once_has_one_level(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [DRAFT, PLAN, "Boston", "Paris", FINAL])

    await ask(bench)

    assert bench.levels == [("baseline", 1), ("plan", 2), ("execute", 3), ("execute", 3), ("final", 4)]


async def test_two_step_answers_all_questions_in_one_call_without_the_draft(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [DRAFT, PLAN, "1. Boston\n2. Paris", FINAL])

    answer = await ask(bench, variant="two_step")

    assert (answer.value, len(bench.texts)) == (FINAL, 4)
    assert all(question in bench.texts[2] for question in ASKED)
    assert "DRAFT1" not in bench.texts[2] and "TAGQ" not in bench.texts[2]
    assert in_order(bench.texts[3], [ASKED[0], "Boston", ASKED[1], "Paris"])


async def test_joint_asks_and_answers_in_one_call_that_sees_the_draft(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [DRAFT, "1. Where was Ann born? Boston\n2. Where was Bob born? Paris", FINAL])

    answer = await ask(bench, variant="joint")

    assert (answer.value, len(bench.texts)) == (FINAL, 3)
    assert "DRAFT1" in bench.texts[1] and "TAGQ" in bench.texts[1]
    assert in_order(bench.texts[2], [ASKED[0], "Boston", ASKED[1], "Paris"])


async def test_revise_checks_the_draft_against_each_answer_and_shows_each_verdict_with_its_fact(tmp_path: Path) -> None:
    script = routed(
        ("Rewrite the answer", FINAL),
        ("Answer of the other source: Boston", "CONSISTENT"),
        ("Answer of the other source: Paris", "It is INCONSISTENT."),
        ("Write short questions", PLAN),
        ("TAGQ", DRAFT),
        (ASKED[0], "Boston"),
        (ASKED[1], "Paris"),
    )
    bench = bench_of(tmp_path, script)

    answer = await ask(bench, variant="revise")

    checks = [text for text in bench.texts if "Another source" in text]
    assert (answer.value, len(bench.texts)) == (FINAL, 7)
    assert all("DRAFT1" in text and "TAGQ" not in text for text in checks)
    assert in_order(bench.texts[6], [ASKED[0], "Boston (CONSISTENT)", ASKED[1], "Paris (INCONSISTENT)"])


@pytest.mark.parametrize("plan", ["\n", "There is nothing to check."])
@pytest.mark.parametrize("variant", ["two_step", "factored", "revise"])
async def test_without_a_question_the_draft_stands(tmp_path: Path, variant: str, plan: str) -> None:
    bench = bench_of(tmp_path, [DRAFT, plan])

    answer = await ask(bench, variant=variant)

    assert (answer.value, len(bench.texts)) == (DRAFT, 2)
    assert "no_sub_question" in bench.warned


JOINT = "1. Where was Ann born? Boston\n2. Where was Bob born? Paris"


@pytest.mark.parametrize("decide", ["generate", "constrain"])
@pytest.mark.parametrize(
    ("variant", "replies"),
    [
        ("joint", [DRAFT, JOINT, FINAL]),
        ("two_step", [DRAFT, PLAN, "1. Boston\n2. Paris", FINAL]),
        ("factored", [DRAFT, PLAN, "Boston", "Paris", FINAL]),
        ("revise", [DRAFT, PLAN, "Boston", "Paris", "CONSISTENT", "CONSISTENT", FINAL]),
    ],
)
async def test_the_formulas_are_what_is_asked_at_the_cap(
    tmp_path: Path, variant: str, replies: list[str], decide: Any
) -> None:
    bench = bench_of(tmp_path, replies)

    answer = await ask(bench, decide, variant=variant, questions=2)

    spec = {"chain_of_verification": {"variant": variant, "questions": 2}}
    most = cost(configure(spec, bench.project), bench.project, decide=decide)
    asked, waited = len(bench.texts), max(record.level for record in bench.records)
    assert (answer.value, most.requests, most.depth) == (FINAL, asked, waited)


@pytest.mark.parametrize(("variant", "asked"), [("joint", JOINT), ("factored", PLAN)])
async def test_no_more_questions_are_asked_than_the_cap(tmp_path: Path, variant: str, asked: str) -> None:
    bench = bench_of(tmp_path, [DRAFT, asked, *(["Boston"] if variant == "factored" else []), FINAL])

    answer = await ask(bench, variant=variant, questions=1)

    assert [pair["question"] for pair in answer.extra["questions"]] == [ASKED[0]]
    assert ASKED[1] not in bench.texts[-1]


async def test_a_joint_answer_may_stand_on_the_line_after_its_question(tmp_path: Path) -> None:
    asked = "1. Where was Ann born?\nBoston\n2. Where was Bob born? Paris\nThat is all."
    bench = Bench(tmp_path, [DRAFT, asked, FINAL], "text")

    await ask(bench, variant="joint")

    assert in_order(bench.texts[2], ["Where was Ann born? Boston\n", "Where was Bob born? Paris\n"])


async def test_joint_pairs_may_be_json(tmp_path: Path) -> None:
    pairs = '[{"question": "Where was Ann born?", "answer": "Boston"}, {"question": "Where was Bob born?"}]'
    bench = bench_of(tmp_path, [DRAFT, pairs, FINAL])

    answer = await ask(bench, variant="joint")

    assert answer.extra["questions"] == [
        {"question": ASKED[0], "answer": "Boston"},
        {"question": ASKED[1], "answer": ""},
    ]


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Inconsistent.", "INCONSISTENT"),
        ("**PARTIALLY CONSISTENT**", "PARTIALLY CONSISTENT"),
        ("The draft says so too, so it is CONSISTENT.", "CONSISTENT"),
        ("It is not consistent with that.", "PARTIALLY CONSISTENT"),
    ],
)
async def test_a_verdict_is_one_of_three_and_a_denied_agreement_is_none(
    tmp_path: Path, reply: str, verdict: str
) -> None:
    bench = bench_of(tmp_path, [DRAFT, "1. Where was Ann born?", "Boston", reply, FINAL])

    answer = await ask(bench, variant="revise")

    assert answer.extra["questions"][0]["verdict"] == verdict


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("1. Boston\n2. Boston", ["Boston", "Boston"]),
        ("2. Paris\n1. Boston", ["Boston", "Paris"]),
        ("Boston\n\n- Paris", ["Boston", "Paris"]),
        ("2. Paris", ["", "Paris"]),
        ("1. Boston\n2. Paris\n3. Rome\nThat is all.", ["Boston", "Paris"]),
        ("Here are the answers:\n1. Boston\n2. Paris", ["Boston", "Paris"]),
        ("1. Boston\nThat is in the east.\n2. Paris", ["Boston", "Paris"]),
        ("", ["", ""]),
    ],
)
def test_answers_of_one_reply_stay_with_their_questions(text: str, answers: list[str]) -> None:
    assert read_answers(text, 2) == answers


@pytest.mark.parametrize(
    ("plan", "questions"),
    [
        (f"Here they are:\n{PLAN}\nThat is all.", list(ASKED)),
        (f"{PLAN}\n\nWould you like me to answer them?", list(ASKED)),
        (f"- {ASKED[0]}\n- {ASKED[0]}", [ASKED[0]]),
        ("1. Where was Ann born\n2. Where was Bob born\nDone.", ["Where was Ann born", "Where was Bob born"]),
        ("None needed.", []),
    ],
)
async def test_a_plan_is_read_by_what_asks(tmp_path: Path, plan: str, questions: list[str]) -> None:
    bench = bench_of(tmp_path, [DRAFT, plan, *["Boston"] * len(questions), FINAL])

    answer = await ask(bench)

    assert [pair["question"] for pair in answer.extra["questions"]] == questions


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [DRAFT, PLAN, "Boston", "Paris", FINAL], prompt=MARKED)

    await perform("chain_of_verification", bench.step(examples=(marked_example("two"),)))

    answering = "persona instructions constraints context output_format examples input recap cue"
    assert bench.shown == [
        ("baseline", answering),
        ("plan", "persona instructions constraints context output_format input"),
        ("execute", "persona"),
        ("execute", "persona"),
        ("final", answering),
    ]
