"""The door of the catalog: a technique is found by name, checked for shape, and may be a user's own."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, TechniqueFailed, Unsupported
from promptkit.prompts.prompt import Example
from promptkit.techniques.context import Options
from promptkit.techniques.perform import perform, repair
from promptkit.techniques.registry import find_technique, technique, technique_names
from promptkit.techniques.spec import check_spec
from tests.techniques.steps import Bench, without

VOTING = '''
from promptkit.techniques import Answer, Task, technique


@technique(needs={"sampling"}, calls="samples", requests="2 * samples")
async def mine(task: Task, *, samples: int = 3, temperature: float = 0.7) -> Answer:
    """Vote over several chains of thought."""
    thoughts = await task.sample("reason", samples, temperature=temperature)
    return task.vote(await task.each(task.decide, thoughts))
'''
REASON = "---\nproduces: answer\nthinks: true\n---\n{% extends prompt %}\n"
EXAMPLES = (Example({"question": "FIRST?"}, 4, "R-ONE"),)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A project with a technique `mine` of its own."""
    (tmp_path / "techniques").mkdir()
    (tmp_path / "techniques" / "mine.py").write_text(VOTING)
    (tmp_path / "templates" / "techniques" / "mine").mkdir(parents=True)
    (tmp_path / "templates" / "techniques" / "mine" / "reason.j2").write_text(REASON)
    return tmp_path


async def test_a_users_technique_samples_and_votes_by_the_answer_types_key(own: Path) -> None:
    chains = ["a\nOutput: 18.", "b\nOutput: 26", "c\nOutput: 26.0"]
    bench = Bench(own, chains)

    answer = await perform("mine", bench.step(examples=EXAMPLES, decide="generate"))

    assert answer.value == 26
    assert len({request.sample for request in bench.runtime.requests}) == 3
    assert all(request.temperature > 0 for request in bench.runtime.requests)


async def test_a_vote_without_any_answer_is_unparsed_and_counts_the_samples(own: Path) -> None:
    bench = Bench(own, ["none"] * 3)

    answer = await perform("mine", bench.step(examples=EXAMPLES, decide="generate"))

    assert (answer.value, answer.flag, answer.extra["unparsed"]) == (None, "unparsed", 3)


async def test_a_need_that_the_runtime_lacks_is_an_error_before_the_first_call(own: Path) -> None:
    bench = Bench(own, [], capabilities=without("sampling"))

    with pytest.raises(Unsupported, match="needs sampling"):
        await perform("mine", bench.step())


async def test_sampling_at_temperature_0_is_an_error(own: Path) -> None:
    bench = Bench(own, [])

    with pytest.raises(InputError, match="temperature > 0"):
        await perform({"mine": {"temperature": 0.0}}, bench.step())


async def test_a_technique_of_one_template_needs_no_python(tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "techniques" / "rereading"
    folder.mkdir(parents=True)
    template = (
        "---\nproduces: answer\n---\n{% extends prompt %}{% block input %}{{ super() }}\nREAD AGAIN: {{ super() }}"
    )
    (folder / "ask.j2").write_text(template + "{% endblock %}\n")
    bench = Bench(tmp_path, ["7"])

    answer = await perform("rereading", bench.step())

    assert answer.value == 7
    assert bench.texts[0].count("QUESTION-MARK") == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "END WITH <Output:>"),
        ({"cue": "Result:"}, "END WITH <Result:>"),
        ({"cue": "none"}, "END WITH <>"),
        ({"layout": "prefix"}, "END WITH <Output:>"),
    ],
)
async def test_a_call_that_thinks_can_say_the_cue_that_its_answer_is_to_follow(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    folder = tmp_path / "templates" / "techniques" / "musing"
    folder.mkdir(parents=True)
    template = "---\nproduces: answer\nthinks: true\n---\n{% extends prompt %}"
    (folder / "ask.j2").write_text(template + "{% block instructions %}END WITH <{{ call.cue }}>{% endblock %}\n")
    bench = Bench(tmp_path, ["7"])

    await perform("musing", bench.step(decide="generate", **settings))

    assert said in bench.texts[0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, 24), ({"options": Options(max_tokens=9)}, 9), ({"decide": "generate", "options": Options(max_tokens=9)}, 9)],
)
async def test_an_answer_may_be_as_long_as_the_step_says_or_its_type_needs(
    tmp_path: Path, settings: dict[str, Any], expected: int
) -> None:
    bench = Bench(tmp_path, [" 7"])

    await perform("vanilla", bench.step(**settings))

    assert bench.runtime.requests[0].max_tokens == expected


async def test_what_a_call_says_about_its_length_and_its_end_comes_before_the_steps_options(tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "techniques" / "brief"
    folder.mkdir(parents=True)
    (folder / "ask.j2").write_text("---\nproduces: answer\nmax_tokens: 5\nstop: ['.']\n---\n{% extends prompt %}\n")
    bench = Bench(tmp_path, [" 7"])

    await perform("brief", bench.step(options=Options(max_tokens=9)))

    assert (bench.runtime.requests[0].max_tokens, bench.runtime.requests[0].stop) == (5, (".",))


async def test_the_steps_option_bounds_what_a_technique_asks_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["so", " 7"])

    await perform({"chain_of_thought": {"max_tokens": 200}}, bench.step(options=Options(max_tokens=40)))

    assert [request.max_tokens for request in bench.runtime.requests] == [40, 40]


@pytest.mark.parametrize("key", ["name: other", "file: elsewhere.j2", "produce: answer"])
def test_a_call_has_a_closed_list_of_keys(tmp_path: Path, key: str) -> None:
    folder = tmp_path / "templates" / "techniques" / "brief"
    folder.mkdir(parents=True)
    (folder / "ask.j2").write_text(f"---\n{key}\n---\n{{% extends prompt %}}\n")

    with pytest.raises(InputError, match="unknown key"):
        find_technique("brief", Bench(tmp_path, []).project)


def test_own_and_shipped_techniques_are_listed_together(own: Path) -> None:
    bench = Bench(own, [])

    assert {"mine", "vanilla", "chain_of_thought"} <= set(technique_names(bench.project))


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("chain_of_thougt", "unknown technique", "chain_of_thought"),
        ({"mine": {"sample": 3}}, "no parameter `sample`", "samples"),
        ({"mine": {"samples": "three"}}, "`samples`", None),
        (["mine"], "a technique is a name", None),
        ({"mine": {}, "vanilla": {}}, "a technique is a name", None),
        ("mine.py", "unknown technique", "mine"),
        ("nowhere.mine", "unknown technique", "mine"),
        ("__init__", "unknown technique", None),
        ("m" * 300, "unknown technique", None),
    ],
)
def test_a_wrong_spec_is_told_with_the_nearest_name(own: Path, spec: object, message: str, hint: str | None) -> None:
    (problem,) = check_spec(spec, Bench(own, []).project)

    assert message in problem.message
    assert hint is None or (problem.hint and hint in problem.hint)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("---\nproduces: anwser\n---\n{% extends prompt %}\n", 2, "anwser"),
        ("---\nproduces: answer\n---\n{% extends prompt %}{% block inptu %}{% endblock %}\n", 4, "inptu"),
        ("Answer at once.\n", 1, "does not extend it"),
        ("{% extends prompt %}\n{% block recap %}{{ question }}{% endblock %}\n", 2, "question"),
        ("{% extends prompt %}\n{% block recap %}{{ call. }}{% endblock %}\n", 2, "expected name"),
    ],
)
def test_what_is_wrong_in_a_template_is_told_at_its_place(own: Path, text: str, line: int, message: str) -> None:
    template = own / "templates" / "techniques" / "mine" / "reason.j2"
    template.write_text(text)

    (problem,) = check_spec("mine", Bench(own, []).project)

    assert (Path(problem.file or "").name, problem.line) == ("reason.j2", line)
    assert message in problem.message


def test_a_right_spec_has_no_problem(own: Path) -> None:
    assert check_spec({"mine": {"samples": 5}}, Bench(own, []).project) == []


async def test_a_module_that_does_not_load_is_told_when_it_is_run(own: Path) -> None:
    (own / "techniques" / "mine.py").write_text(f"import nowhere_to_be_found\n{VOTING}")
    bench = Bench(own, [])

    with pytest.raises(TechniqueFailed, match=r"technique `mine` cannot be loaded: ModuleNotFoundError.*mine\.py:1"):
        await perform("mine", bench.step())


def test_a_function_of_the_wrong_shape_is_refused_when_declared() -> None:
    async def positional(task: object, samples: int = 3) -> None: ...

    with pytest.raises(TypeError, match="keyword-only"):
        technique()(positional)  # type: ignore[arg-type]


async def test_a_repair_says_what_was_wrong_after_the_reply(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["no idea", "7"])
    step = bench.step(decide="generate")

    first = await perform("vanilla", step)
    repaired = await repair(step, first, first.problem or "")

    second = bench.runtime.requests[1]
    assert repaired.value == 7
    assert [message.role for message in second.messages] == ["user", "assistant", "user"]
    assert "no idea" in second.messages[1].content
    assert bench.records[1].repair


async def test_a_reply_that_was_cut_is_asked_for_with_twice_the_tokens(tmp_path: Path) -> None:
    from promptkit.runtimes.base import Reply

    bench = Bench(tmp_path, [Reply(text="one", finish="length"), "one two"], "text")
    step = bench.step()

    repaired = await repair(step, await perform("vanilla", step), "cut")

    first, second = bench.runtime.requests
    assert repaired.value == "one two"
    assert (second.max_tokens, second.messages) == (2 * first.max_tokens, first.messages)


async def test_a_repaired_reply_is_read_up_to_an_example_that_it_makes_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["none", "7\nOutput: 9"])
    step = bench.step(decide="generate", examples=(Example({"question": "FIRST?"}, 4),))

    first = await perform("vanilla", step)

    assert (await repair(step, first, first.problem or "")).value == 7


async def test_a_scored_answer_is_repaired_under_the_grammar(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: " good", {"label": ["good", "bad"]})
    step = bench.step(decide="score", options=Options(temperature=0.7))

    await repair(step, await perform("vanilla", step), "it must not be so")

    assert bench.runtime.requests[-1].grammar
    assert bench.records[0].request.temperature == 0


async def test_a_technique_whose_default_leads_back_to_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "techniques").mkdir()
    (tmp_path / "techniques" / "mine.py").write_text(
        "from promptkit.techniques import Answer, Spec, Task, technique\n\n\n@technique()\n"
        'async def mine(task: Task, *, over: Spec = "mine") -> Answer:\n    """Go round."""\n'
        "    return await task.run(over)\n"
    )
    bench = Bench(tmp_path, [])

    with pytest.raises(InputError, match="without an end"):
        await perform("mine", bench.step())
