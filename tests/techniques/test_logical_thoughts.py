"""`logical_thoughts` (Zhao et al. 2024): a step is kept once it is judged with both reviews, else grown anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptkit.runtimes.base import Request
from promptkit.techniques.catalog.logical_thoughts import read_steps
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, flat, in_order, marked_example, without

CHAIN = " 16-7=9\n#2. 9*3=27 OLD2\n#3. Total 27 OLD3"
REVIEWS = ("defend", "attack", "judge")
ALL_CALLS = ["think", *REVIEWS, *REVIEWS, "revise", "regrow", *REVIEWS, "extract"]
SETTINGS = {"steps": 3, "revisions": 1}


def script(*, chain: str = CHAIN, answers: tuple[str, ...] = ("18",), wrong: str = "OLD2") -> Callable[[Request], str]:
    """Return a script that finds fault with each step that holds `wrong`, unless its reply to the last call is read."""
    answered = iter(answers)

    def reply(request: Request) -> str:
        text, begun = flat(request), request.begun
        step = text.rpartition("Step to ")[2]
        if "Therefore, the answer" in begun:
            return next(answered)
        if begun.endswith("is true because"):
            return " it looks right PTMARK"
        if begun.endswith("is false because"):
            return " price is 2 PFMARK"
        if "Two reviewers" in text:
            return f"The one says it is true.\nVerdict: {'FALSE' if wrong in step else 'TRUE'}"
        if "Write only this step" in text:
            return " 9*2=18 REV2"
        return " Total 18 NEW3" if "REV2" in begun else chain

    return reply


async def ask(bench: Bench, decide: Any = "generate", **parameters: Any) -> Any:
    spec = {"logical_thoughts": {**SETTINGS, **parameters}}
    answer = await perform(spec, bench.step(decide=decide))
    most = cost(configure(spec, bench.project), bench.project, decide=decide)
    assert most.calls == most.requests >= len(bench.records)
    assert most.depth >= max(record.level for record in bench.records)
    return answer


def calls(bench: Bench) -> list[str]:
    """Return the calls in order, the two reviews of a step in alphabetical order turned round."""
    order = {"defend": 0, "attack": 1}
    names = [record.call for record in bench.records]
    for place in range(len(names) - 1):
        if {*names[place : place + 2]} == {"defend", "attack"}:
            names[place : place + 2] = sorted(names[place : place + 2], key=order.__getitem__)
    return names


def held_by(bench: Bench, call: str) -> list[str]:
    return [flat(record.request) for record in bench.records if record.call == call]


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_a_chain_is_regrown_from_the_step_that_is_found_false(tmp_path: Path, decide: str) -> None:
    bench = Bench(tmp_path, script())

    answer = await ask(bench, decide)

    assert (answer.value, len(bench.texts)) == (18, 13)
    assert calls(bench) == ALL_CALLS
    assert answer.extra["chain"] == ["16-7=9", "9*2=18 REV2", "Total 18 NEW3"]
    assert [step["verdict"] for step in answer.extra["steps"]] == ["TRUE", "FALSE", "TRUE"]
    assert "capped" not in answer.extra


async def test_what_each_call_knows(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script())

    await ask(bench)

    judged, revised, regrown = (held_by(bench, call) for call in ("judge", "revise", "regrow"))
    looked_at = [text.rpartition("Step to ")[2] for call in REVIEWS for text in held_by(bench, call)]
    assert all("PTMARK" in text and "PFMARK" in text and "QUESTION-MARK" in text for text in judged)
    assert in_order(revised[0], ["OLD2", "PFMARK"])
    assert "REV2" in regrown[0] and not any(word in regrown[0] for word in ("OLD2", "OLD3"))
    assert not any("OLD3" in text for call in REVIEWS for text in held_by(bench, call))
    assert not any("REV2" in step for step in looked_at)
    assert not any(word in text for word in ("PTMARK", "PFMARK") for text in held_by(bench, "defend"))
    assert in_order(bench.texts[-1], ["16-7=9", "REV2", "NEW3"])


async def test_the_reviews_of_a_step_may_run_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(chain=" 16-7=9"))

    await ask(bench)

    assert dict(bench.levels) == {"think": 1, "defend": 2, "attack": 2, "judge": 3, "extract": 4}


async def test_where_the_verified_chain_gives_no_answer_the_untouched_one_is_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(answers=("unclear", "27")))

    answer = await ask(bench)

    assert (answer.value, len(bench.texts)) == (27, 14)
    assert "OLD3" in bench.texts[-1] and "REV2" not in bench.texts[-1]
    assert cost(configure({"logical_thoughts": SETTINGS}, bench.project), bench.project).calls == 14


async def test_a_chain_that_nothing_changed_is_asked_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(chain=" 16-7=9", answers=("unclear",)))

    answer = await ask(bench)

    assert (answer.flag, calls(bench)) == ("unparsed", ["think", *REVIEWS, "extract"])


async def test_steps_beyond_the_cap_stay_in_the_chain_unjudged(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(chain=" ONE\n#2. TWO\n#3. THREE"))

    answer = await ask(bench, steps=2)

    assert (answer.extra["chain"], answer.extra["capped"]) == (["ONE", "TWO", "THREE"], True)
    assert len(answer.extra["steps"]) == 2
    assert bench.warned == ["capped"]


async def test_thirty_steps_are_judged_as_in_the_papers_release(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(chain="".join(f" S{n}\n#{n + 1}." for n in range(1, 33))))

    answer = await perform("logical_thoughts", bench.step(decide="generate"))

    assert (len(answer.extra["steps"]), len(answer.extra["chain"]), bench.warned) == (30, 32, ["capped"])


async def test_a_false_step_that_may_not_be_revised_stays(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(chain=" ONE BAD\n#2. TWO", wrong="BAD"))
    bench.runtime.script = _always_bad(bench.runtime.script)

    answer = await ask(bench)

    assert answer.extra["chain"] == ["still BAD", "more BAD"]
    assert answer.extra["capped"]
    assert calls(bench) == ["think", *REVIEWS, "revise", "regrow", *REVIEWS, "extract"]


@pytest.mark.parametrize(("chain", "warning"), [(" ONE", "single_step"), (" \n", "no_step")])
async def test_a_chain_that_leaves_nothing_to_verify_is_reported(tmp_path: Path, chain: str, warning: str) -> None:
    bench = Bench(tmp_path, script(chain=chain))

    await ask(bench)

    assert warning in bench.warned


def _always_bad(script: Any) -> Callable[[Request], str]:
    def reply(request: Request) -> str:
        if "Write only this step" in flat(request):
            return " still BAD"
        return " more BAD" if request.begun.endswith("\n#2.") else str(script(request))

    return reply


async def test_an_unclear_verdict_keeps_the_step(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(chain=" ONE"))
    plain = bench.runtime.script
    bench.runtime.script = lambda request: "Hard to say." if "Two reviewers" in flat(request) else plain(request)

    assert (await ask(bench)).extra["chain"] == ["ONE"]


async def test_a_reply_without_steps_is_answered_from_the_question(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(chain=" \n"))

    answer = await ask(bench)

    assert (answer.value, calls(bench)) == (18, ["think", "extract"])


async def test_a_context_is_shown_to_all_who_judge(tmp_path: Path) -> None:
    inputs = "---\ninputs: {question: {type: text}, context: {type: list}}\n---\n"
    prompt = inputs + "{% block input %}{{ question }}{% endblock %}"
    bench = Bench(tmp_path, script(chain=" ONE"), prompt=prompt)

    await perform("logical_thoughts", bench.step(values={"question": "Q", "context": ["FACT1", "FACT2"]}))

    assert all(in_order(text, ["FACT1", "FACT2"]) for call in REVIEWS for text in held_by(bench, call))


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(), prompt=MARKED.replace("{% block cue %}CUE-MARK:{% endblock %}", ""))

    await perform({"logical_thoughts": SETTINGS}, bench.step(examples=(marked_example(2),)))

    knowing = "persona instructions constraints context output_format input"
    making = "persona instructions constraints context output_format examples input"
    answering = "persona instructions constraints context output_format examples thoughts input recap"
    assert {*bench.shown} == {
        ("think", making),
        ("revise", making),
        ("regrow", making),
        *((call, knowing) for call in REVIEWS),
        ("extract", answering),
    }


async def test_the_users_cue_comes_before_the_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(chain=" ONE", answers=()), prompt=MARKED)
    plain = bench.runtime.script
    bench.runtime.script = lambda request: "18" if request.begun.endswith("CUE-MARK:") else plain(request)

    assert (await ask(bench)).value == 18


async def test_a_runtime_that_cannot_continue_is_told_how_to_begin(tmp_path: Path) -> None:
    replies = ["#1. 16-7=9\n#2. 9*2=18", "fine", "no", "Verdict: TRUE", "fine", "no", "TRUE", "18"]
    bench = Bench(tmp_path, replies, capabilities=without("continue"))

    answer = await ask(bench)

    assert (answer.value, answer.extra["chain"]) == (18, ["16-7=9", "9*2=18"])


@pytest.mark.parametrize(
    ("text", "first", "steps"),
    [
        (CHAIN, 1, ["16-7=9", "9*3=27 OLD2", "Total 27 OLD3"]),
        ("a\n2. b\n3) c", 1, ["a", "b", "c"]),
        ("a\n2.5 litres\n7. no step\n#2. b", 1, ["a\n2.5 litres\n7. no step", "b"]),
        ("#4. a\n#5. b", 4, ["a", "b"]),
        ("\n\n", 1, []),
    ],
)
def test_only_the_next_number_begins_a_step(text: str, first: int, steps: list[str]) -> None:
    assert read_steps(text, first) == steps


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("It is true, says one.\nVerdict: FALSE", "FALSE"),
        ("Verdict: FALSE? No.\n**Verdict:** true", "TRUE"),
        ("One says it is FALSE.\nTRUE.", "TRUE"),
        ("Verdict: not true", "FALSE"),
        ("Verdict: The step is TRUE because the claim it is false is wrong.", "TRUE"),
        ("It is TRUE, but I do not know.\nHard to say.", None),
        ("", None),
    ],
)
async def test_the_last_verdict_counts_and_not_its_reason(tmp_path: Path, reply: str, verdict: str | None) -> None:
    bench = Bench(tmp_path, script(chain=" ONE"))
    plain = bench.runtime.script
    bench.runtime.script = lambda request: reply if "Two reviewers" in flat(request) else plain(request)

    answer = await ask(bench, revisions=1)

    assert answer.extra["steps"][0]["verdict"] == verdict
