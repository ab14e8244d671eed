"""`maieutic` (Jung et al. 2022): explanations that are held consistently outvote what the model says at once."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.runtimes.base import Alternative, Reply, Request, Token
from promptkit.techniques.context import Options
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, flat, marked_example, without

QUESTION = "QUESTION-MARK 3+4?"
NEGATED = {QUESTION: "NOTQ.", "ET.": "NOTET.", "EF.": "NOTEF."}
BELIEFS = {QUESTION: 0.6, "NOTQ.": 0.5, "ET.": 0.5, "NOTET.": 0.5, "EF.": 0.95, "NOTEF.": 0.05}
EXPLANATIONS = {(QUESTION, "true"): ["ET."], (QUESTION, "false"): ["EF."]}
RELATIONS = {("EF.", QUESTION): "contradicts", ("EF.", "NOTQ."): "entails"}
SMALL = {"depth": 1, "width": 1}


def scored(probability: float) -> Reply:
    """Return a reply whose first token is ` true` with a probability, and else ` false`."""
    shown = [
        Alternative(piece, math.log(max(each, 1e-9)))
        for piece, each in ((b" true", probability), (b" false", 1 - probability))
    ]
    return Reply(text=" true", tokens=(Token(shown[0].piece, shown[0].logprob, tuple(shown)),))


def between(text: str, head: str) -> str:
    """Return the rest of the last line that begins with a head."""
    return text.rpartition(f"{head} ")[2].partition("\n")[0]


def model(
    *,
    negated: Mapping[str, str] = NEGATED,
    beliefs: Mapping[str, float] = BELIEFS,
    explanations: Mapping[tuple[str, str], list[str]] = EXPLANATIONS,
    relations: Mapping[tuple[str, str], str] = RELATIONS,
    believe: Callable[[float], Any] = scored,
) -> Callable[[Request], Any]:
    """Return a script that knows statements by heart; each explanation is given once."""
    left = {key: list(texts) for key, texts in explanations.items()}

    def script(request: Request) -> Any:
        text = flat(request)
        statement = between(text, "Statement:")
        if "must the second be true too" in text:
            return relations.get((between(text, "First:"), between(text, "Second:")), "neutral")
        if "Is it true or false" in text:
            return believe(beliefs[statement])
        if "Say in one short sentence" in text:
            label = "true" if "is true, because" in text.rpartition("\n")[2] else "false"
            return f" {left[statement, label].pop(0)}"
        return f" {negated[statement]}"

    return script


async def ask(bench: Bench, **settings: Any) -> Any:
    tools = settings.pop("tools", {})
    spec = {"maieutic": {**SMALL, **settings}}
    answer = await perform(spec, bench.step(tools=tools))
    most = cost(configure(spec, bench.project), bench.project)
    assert most.calls == most.requests >= sum(record.requests for record in bench.records)
    assert most.depth >= max(record.level for record in bench.records)
    return answer


def related(bench: Bench) -> list[tuple[str, str]]:
    texts = [flat(record.request) for record in bench.records if record.call == "relate"]
    return sorted((between(text, "First:"), between(text, "Second:")) for text in texts)


def counted(bench: Bench) -> dict[str, int]:
    names = [record.call for record in bench.records]
    return {name: names.count(name) for name in dict.fromkeys(names)}


async def test_a_belief_that_is_not_settled_gives_way_to_the_explanation_that_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model(), "boolean")

    answer = await ask(bench)

    assert answer.value is False
    assert counted(bench) == {"negate": 3, "belief": 6, "explain": 2, "relate": 2}
    assert related(bench) == [("EF.", "NOTQ."), ("EF.", QUESTION)]
    assert answer.extra["explanations"] == [{"statement": "EF.", "true": True}]
    assert answer.extra["score"] == -1
    assert answer.extra["beliefs"] == pytest.approx([0.6, 0.5])


async def test_what_hangs_together_may_run_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model(), "boolean")

    await ask(bench)

    assert {*bench.levels} == {
        ("negate", 1),
        ("belief", 2),
        ("explain", 3),
        ("negate", 4),
        ("belief", 5),
        ("relate", 6),
    }


@pytest.mark.parametrize("decide", ["generate", "constrain", "score"])
async def test_a_settled_statement_is_not_explained(tmp_path: Path, decide: Any) -> None:
    bench = Bench(tmp_path, model(beliefs={**BELIEFS, QUESTION: 0.9, "NOTQ.": 0.1}), "boolean")

    answer = await perform("maieutic", bench.step(decide=decide))

    assert (answer.value, len(bench.texts)) == (True, 3)


async def test_where_all_branches_are_pruned_the_belief_decides(tmp_path: Path) -> None:
    beliefs = {**BELIEFS, QUESTION: 0.4, "EF.": 0.5, "NOTEF.": 0.5}
    bench = Bench(tmp_path, model(beliefs=beliefs), "boolean")

    answer = await ask(bench)

    assert (answer.value, len(bench.texts), bench.warned) == (False, 11, ["all_pruned"])


async def test_a_tool_tells_how_statements_go_together(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    async def nli(arguments: Mapping[str, Any]) -> str:
        asked.append((arguments["premise"], arguments["hypothesis"]))
        return {"contradicts": "CONTRADICTION", "entails": "entailment"}.get(RELATIONS.get(asked[-1], ""), "neutral")

    bench = Bench(tmp_path, model(), "boolean")

    answer = await ask(bench, nli="nli", tools={"nli": nli})

    assert (answer.value, len(bench.texts)) == (False, 11)
    assert sorted(asked) == [("EF.", "NOTQ."), ("EF.", QUESTION)]


async def test_a_tool_that_is_not_there_is_named_before_the_first_call(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model(), "boolean")

    with pytest.raises(InputError, match="no tool `nly`") as raised:
        await perform({"maieutic": {"nli": "nly"}}, bench.step(tools={"nli": print}))

    assert "nli" in str(raised.value.problems[0].hint)
    assert bench.texts == []


NEGATED_TREE = {
    **NEGATED,
    **{name: f"NOT{name}" for name in ("A.", "B.", "C.", "D.")},
}
"""Q is explained by A (true, not settled) and B (false, settled); A by C (true, settled) and D (false, not settled)."""
BELIEFS_TREE = {
    **{QUESTION: 0.5, "NOTQ.": 0.5, "A.": 0.5, "NOTA.": 0.4, "B.": 0.1, "NOTB.": 0.9},
    **{"C.": 0.95, "NOTC.": 0.05, "D.": 0.5, "NOTD.": 0.5},
}
EXPLANATIONS_TREE = {
    (QUESTION, "true"): ["A."],
    (QUESTION, "false"): ["B."],
    ("A.", "true"): ["C."],
    ("A.", "false"): ["D."],
}


async def test_an_inner_node_is_kept_on_the_way_to_a_settled_one_and_a_node_stands_for_the_side_believed(
    tmp_path: Path,
) -> None:
    script = model(
        negated=NEGATED_TREE,
        beliefs=BELIEFS_TREE,
        explanations=EXPLANATIONS_TREE,
        relations={("C.", "A."): "entails", ("A.", QUESTION): "entails"},
    )
    bench = Bench(tmp_path, script, "boolean")

    answer = await ask(bench, depth=2)

    assert answer.value is True
    assert {side for pair in related(bench) for side in pair} == {"A.", "C.", "NOTB.", QUESTION, "NOTQ."}
    assert counted(bench) == {"negate": 5, "belief": 10, "explain": 4, "relate": 3 * 2 + 2 * 3}
    assert {each["statement"]: each["true"] for each in answer.extra["explanations"]} == {
        "A.": True,
        "C.": True,
        "NOTB.": True,
    }


async def test_of_two_explanations_that_contradict_each_other_the_stronger_belief_stands(tmp_path: Path) -> None:
    script = model(
        beliefs={**BELIEFS, "ET.": 0.8, "NOTET.": 0.3},
        relations={("ET.", "EF."): "contradicts", ("ET.", QUESTION): "entails", **RELATIONS},
    )
    bench = Bench(tmp_path, script, "boolean")

    answer = await ask(bench)

    assert answer.value is False
    assert answer.extra["explanations"] == [{"statement": "ET.", "true": False}, {"statement": "EF.", "true": True}]
    assert ("ET.", "EF.") in related(bench) and ("EF.", "ET.") in related(bench)
    assert ("ET.", QUESTION) not in related(bench)


async def test_the_formula_is_what_a_tree_at_its_caps_asks(tmp_path: Path) -> None:
    script = model(
        beliefs={**BELIEFS, "ET.": 0.95, "NOTET.": 0.05},
        explanations={(QUESTION, "true"): ["unfinished", "ET."], (QUESTION, "false"): ["", "EF."]},
        relations={},
    )
    bench = Bench(tmp_path, script, "boolean")

    await ask(bench)

    most = cost(configure({"maieutic": SMALL}, bench.project), bench.project, answer="boolean")
    assert (most.calls, most.depth) == (len(bench.texts), max(record.level for record in bench.records)) == (19, 8)


async def test_unfinished_and_repeated_explanations_are_asked_for_once_more_as_new_samples(tmp_path: Path) -> None:
    explanations = {(QUESTION, "true"): ["ET.", "et.", "cut off in"], (QUESTION, "false"): ["EF.", QUESTION, "EF."]}
    bench = Bench(tmp_path, model(explanations=explanations), "boolean")

    answer = await ask(bench, width=2)

    explained = [record.request for record in bench.records if record.call == "explain"]
    assert (answer.value, len(explained)) == (False, 6)
    assert {request.sample for request in explained} == {"0/0", "0/1", "0/2"}
    assert {request.temperature for request in explained} == {1.0}


async def test_deeper_explanations_are_sampled_less_wildly(tmp_path: Path) -> None:
    script = model(negated=NEGATED_TREE, beliefs=BELIEFS_TREE, explanations=EXPLANATIONS_TREE, relations={})
    bench = Bench(tmp_path, script, "boolean")

    await ask(bench, depth=2)

    heats = [(r.level, r.request.temperature) for r in bench.records if r.call == "explain"]
    assert heats == [(3, 1.0), (3, 1.0), (6, 0.5), (6, 0.5)]


@pytest.mark.parametrize("missing", ["logprobs", "continue"])
async def test_without_log_probabilities_a_belief_is_the_share_of_true_among_samples(
    tmp_path: Path, missing: str
) -> None:
    said = {QUESTION: iter(["true", "True.", "false", "true", "true"]), "NOTQ.": iter(["false"] * 3 + ["true", "?"])}
    plain = model()

    def script(request: Request) -> Any:
        text = flat(request)
        return next(said[between(text, "Statement:")]) if "Is it true or false" in text else plain(request)

    bench = Bench(tmp_path, script, "boolean", capabilities=without(missing))

    answer = await perform("maieutic", bench.step())

    beliefs = [record.request for record in bench.records if record.call == "belief"]
    assert (answer.value, answer.extra["beliefs"]) == (True, [0.8, 0.2])
    assert len(beliefs) == 10
    assert all(request.temperature > 0 for request in beliefs)
    assert {request.sample for request in beliefs} == {f"0/{number}" for number in range(5)}


@pytest.mark.parametrize("reply", ["Therefore, the statement is true.", "correct", "**True**", "not false"])
async def test_a_belief_is_read_in_any_dress_on_a_chat_server(tmp_path: Path, reply: str) -> None:
    lacking = without("continue", "logprobs", "grammar", "schema", "guidance")
    script = model(beliefs={QUESTION: 0.9, "NOTQ.": 0.1}, believe=lambda known: reply if known > 0.5 else "untrue")
    bench = Bench(tmp_path, script, "boolean", capabilities=lacking)

    answer = await perform("maieutic", bench.step())

    assert (answer.value, answer.extra["beliefs"]) == (True, [1.0, 0.0])


async def test_a_belief_that_nobody_states_settles_nothing(tmp_path: Path) -> None:
    script = model(believe=lambda probability: "who knows")
    bench = Bench(tmp_path, script, "boolean", capabilities=without("logprobs"))

    answer = await perform({"maieutic": {**SMALL, "samples": 1}}, bench.step())

    assert (answer.value, answer.flag) == (None, "unparsed")
    assert counted(bench)["explain"] == 2


async def test_a_belief_without_a_probability_settles_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model(believe=lambda probability: Reply(text="")), "boolean")

    answer = await perform({"maieutic": SMALL}, bench.step())

    assert (answer.value, answer.flag) == (None, "unparsed")


@pytest.mark.parametrize(
    ("labels", "value"),
    [
        (["yes", "no"], "no"),
        (["no", "yes"], "no"),
        (["incorrect", "correct"], "incorrect"),
        (["true", "unsure"], "unsure"),
        (["unsure", "false"], "false"),
    ],
)
async def test_the_words_of_two_labels_may_say_which_is_true(tmp_path: Path, labels: list[str], value: str) -> None:
    bench = Bench(tmp_path, model(), {"label": labels})

    assert (await ask(bench)).value == value
    assert "true_label" not in counted(bench)


@pytest.mark.parametrize("labels", [["refuted", "supported"], ["supported", "refuted"]])
async def test_else_the_model_is_asked_which_label_a_true_statement_gets(tmp_path: Path, labels: list[str]) -> None:
    plain = model()
    script = {"true_label": " supported"}
    bench = Bench(
        tmp_path,
        lambda request: script["true_label"] if "two labels" in flat(request) else plain(request),
        {"label": labels},
    )

    answer = await ask(bench)

    assert answer.value == "refuted"
    assert bench.levels[0] == ("true_label", 1)
    assert "INSTRUCTIONS-MARK" in bench.texts[0]


async def test_without_a_label_of_true_statements_there_is_no_answer_and_nothing_else_is_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["Who knows?"], {"label": ["refuted", "supported"]})

    answer = await perform("maieutic", bench.step(decide="generate"))

    assert (answer.value, answer.problem) == (None, "the model does not say which label a true statement gets")
    assert bench.warned == ["unread_call"]


@pytest.mark.parametrize("answer", ["text", "number", {"label": ["a", "b", "c"]}])
async def test_an_answer_that_is_not_one_of_two_is_refused_before_the_first_call(tmp_path: Path, answer: Any) -> None:
    bench = Bench(tmp_path, model(), answer)

    with pytest.raises(InputError, match="one of two labels"):
        await perform("maieutic", bench.step())

    assert bench.texts == []


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model(), "boolean", prompt=MARKED)

    await perform({"maieutic": SMALL}, bench.step(examples=(marked_example(True),)))

    assert {*bench.shown} == {
        ("negate", "persona input"),
        ("negate", "persona"),
        ("belief", "persona instructions constraints input"),
        ("belief", "persona instructions constraints"),
        ("explain", "persona instructions constraints input"),
        ("relate", "persona input"),
        ("relate", "persona"),
    }


async def test_each_call_is_about_one_statement_or_one_pair(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model(), "boolean")

    await ask(bench)

    for record in bench.records:
        text = flat(record.request)
        mentioned = [each for each in {*NEGATED, *NEGATED.values()} if f": {each}" in text]
        assert len(mentioned) == (2 if record.call == "relate" else 1)


async def test_an_explanation_speaks_once_for_a_side_however_many_relations_say_so(tmp_path: Path) -> None:
    relations = {**RELATIONS, ("ET.", QUESTION): "entails"}
    bench = Bench(tmp_path, model(beliefs={**BELIEFS, "ET.": 0.95, "NOTET.": 0.05}, relations=relations), "boolean")

    answer = await ask(bench)

    assert (answer.value, answer.extra["score"], bench.warned) == (True, 0, ["tie"])


async def test_negations_and_relations_are_greedy_whatever_the_step_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model(), "boolean")

    await perform({"maieutic": SMALL}, bench.step(options=Options(temperature=0.7)))

    assert {record.request.temperature for record in bench.records if record.call in ("negate", "relate")} == {0.0}
