"""Conversations as cells: scripted turns, simulated users, and the metrics of each turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from promptkit.errors import InputError, ServerFailed
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.cells.turns import turn_cells
from promptkit.evaluation.labelling.items import find_items
from promptkit.evaluation.labelling.levels import label_levels, labelled_measure
from promptkit.evaluation.metrics.judge_prompt import SAME_MODEL
from promptkit.evaluation.suite.binding import row_problems
from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.strict_json import compact
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench, Ran
from tests.techniques.steps import without

AGENT = """
---
inputs: {talk: {type: messages}}
---
{% block system %}You book tables.{% endblock %}
"""
CUSTOMER = """
---
inputs: {goal: {}, seen: {type: messages}}
---
{% block system %}You are a customer who wants {{ goal }}.{% endblock %}
"""
SCRIPTED = """
data: rows.jsonl
target: agent
conversation: {turns: "{{ row.turns }}"}
metrics: {right: {exact: {each: turn}}}
"""
SIMULATED = """
data: rows.jsonl
target: agent
conversation:
  user: customer
  with: {goal: "{{ row.goal }}"}
  until: "{{ 'DONE' in message }}"
  max: 3
metrics: {last: {contains: {of: "{{ output.turns[-1].answer }}", text: answer}}}
"""
ROWS = [
    {"turns": ["Hi", "When?", "Bye"], "expect": ["answer 1", "answer 2", "other"]},
    {"turns": ["Hello"], "expect": ["answer 1"]},
]


@pytest.fixture
def bench(folder: Folder) -> Bench:
    folder.write("templates/prompts/agent.j2", AGENT)
    folder.write("templates/prompts/customer.j2", CUSTOMER)
    return Bench(folder, ROWS)


def is_customer(request: Request) -> bool:
    return "customer" in request.messages[0].content


def number_of_turn(request: Request) -> int:
    return sum(message.role == "user" for message in request.messages)


def reply(request: Request) -> str:
    """Answer with the number of the turn; as a customer, ask twice and then end."""
    if is_customer(request):
        turn = 1 + sum(message.role == "assistant" for message in request.messages)
        return f"question {turn}" if turn < 3 else "DONE"
    return f"answer {number_of_turn(request)}"


def outputs(ran: Ran) -> list[Mapping[str, Any]]:
    return [cell.output for cell in ran.view.cells()]


async def simulated(bench: Bench, script: Any = reply, text: str = SIMULATED, **how: Any) -> Ran:
    bench.rows([{"goal": "a table"}])
    return await bench.run(text, script, **how)


async def test_each_turn_of_a_row_is_answered_with_the_conversation_before_it(bench: Bench) -> None:
    ran = await bench.run(SCRIPTED, reply)
    first, second = outputs(ran)
    assert [turn["answer"] for turn in first["turns"]] == ["answer 1", "answer 2", "answer 3"]
    assert (first["ended"], len(second["turns"])) == ("turns", 1)
    last = max(ran.runtime.requests, key=lambda request: len(request.messages))
    assert last.messages == (
        Message("system", "You book tables."),
        *(Message("user", "Hi"), Message("assistant", "answer 1")),
        *(Message("user", "When?"), Message("assistant", "answer 2")),
        Message("user", "Bye"),
    )
    assert ran.variant()["calls"] == 4


async def test_the_score_of_a_row_is_the_mean_of_its_turns(bench: Bench) -> None:
    ran = await bench.run(SCRIPTED, reply)
    metric = ran.metric("right")
    assert (metric["mean"], metric["n"], metric["clusters"]) == (pytest.approx(5 / 6), 2, 2)
    assert [(part["turn"], part["mean"], part["n"]) for part in metric["parts"]["turns"]] == [
        (1, 1.0, 2),
        (2, 1.0, 1),
        (3, 0.0, 1),
    ]
    detail = next(iter(ran.view.cells())).scores["right"].detail
    assert (detail["got"], detail["expected"]) == ("turn 3: answer 3", "turn 3: other")


async def test_expected_answers_of_a_metrics_own_may_leave_out_turns(bench: Bench) -> None:
    bench.rows([{"turns": ["Hi", "When?"], "second": "answer 2"}])
    own = '{exact: {each: turn, expect: "{{ row.second if turn.number == 2 else none }}"}}'
    ran = await bench.run(SCRIPTED.replace("{exact: {each: turn}}", own), reply)
    assert ran.metric("right")["mean"] == 1.0
    assert [part["turn"] for part in ran.metric("right")["parts"]["turns"]] == [2]


async def test_of_reads_the_turn(bench: Bench) -> None:
    of = "{contains: {each: turn, of: \"{{ turn.user ~ ' ' ~ turn.messages | length }}\", any: [Hi 1, Bye 5]}}"
    ran = await bench.run(SCRIPTED.replace("{exact: {each: turn}}", of), reply)
    assert ran.metric("right")["mean"] == pytest.approx((2 / 3 + 0) / 2)


async def test_a_known_conversation_is_not_played_again_and_another_is(bench: Bench) -> None:
    await bench.run(SCRIPTED, reply)
    again = await bench.run(SCRIPTED, reply)
    assert (again.record["known"], len(again.runtime.requests)) == (2, 0)
    bench.rows([{"turns": ["Hi", "Where?"], "expect": ["answer 1", "x"]}])
    other = await bench.run(SCRIPTED, reply)
    assert (other.record["known"], len(other.runtime.requests)) == (0, 1)  # the first turn is a kept reply


async def test_a_conversation_of_the_row_is_gone_on_with(bench: Bench) -> None:
    before = [{"role": "user", "content": "Hey"}, {"role": "assistant", "content": "Yes?"}]
    bench.rows([{"talk": before, "turns": ["When?"], "expect": ["answer 2"]}])
    ran = await bench.run(SCRIPTED, reply)
    assert ran.metric("right")["mean"] == 1.0
    assert outputs(ran)[0]["messages"][:3] == [*before, {"role": "user", "content": "When?"}]
    (turn,) = turn_cells(next(iter(ran.view.cells())))
    assert turn.turn is not None and [message["content"] for message in turn.turn["messages"]] == [
        "Hey",
        "Yes?",
        "When?",
    ]


async def test_the_users_text_may_be_an_input_of_its_own_and_the_reply_a_part_of_the_output(bench: Bench) -> None:
    bench.folder.write(
        "templates/prompts/ask.j2",
        """
        ---
        inputs: {history: {type: messages}, question: {}}
        ---
        {% block user %}Q: {{ question }}{% endblock %}
        """,
    )
    bench.folder.write(
        "pipelines/two.yaml",
        """
        inputs: {history: {type: messages}, question: {}}
        steps: {ask: {prompt: ask}}
        output: {answer: "{{ ask }}", length: "{{ ask | length }}"}
        """,
    )
    suite = """
        data: rows.jsonl
        target: two
        conversation: {turns: "{{ row.turns }}", message: question, reply: "{{ output.answer }}"}
        metrics: {right: {exact: {each: turn, of: "{{ output.answer }}"}}}
        """
    ran = await bench.run(suite, reply)
    assert ran.metric("right")["mean"] == pytest.approx(5 / 6)
    assert [message["content"] for message in outputs(ran)[0]["messages"][:3]] == ["Hi", "answer 1", "When?"]
    assert ran.runtime.requests[-1].messages[-1].content.startswith("Q: ")


async def test_an_answer_that_does_not_parse_ends_the_conversation_as_wrong(bench: Bench) -> None:
    bench.folder.write(
        "templates/prompts/agent.j2",
        """
        ---
        inputs: {talk: {type: messages}}
        answer: number
        decide: generate
        ---
        {% block system %}Count.{% endblock %}
        """,
    )
    bench.rows([{"turns": ["1?", "2?", "3?"], "expect": [1, 2, 3]}])
    script = lambda request: "1" if number_of_turn(request) == 1 else "none"  # noqa: E731
    suite = SCRIPTED.replace("metrics: {", "metrics: {tokens: {tokens: {each: turn}}, ")
    ran = await bench.run(suite, script, cached=False)
    (cell,) = ran.view.cells()
    assert (cell.flag, cell.output["ended"], len(cell.output["turns"])) == ("unparsed", "broken", 2)
    assert cell.problem.startswith("turn 2: ") and ran.metric("right")["mean"] == 0
    assert len(cell.output["messages"]) == 2 and ran.variant()["unparsed"] == 1
    assert cell.scores["tokens"].value == pytest.approx((cell.tokens_in + cell.tokens_out) / 2)


async def test_a_failure_of_the_target_leaves_the_cell_missing(bench: Bench) -> None:
    def script(request: Request) -> str:
        if number_of_turn(request) == 2:
            raise ServerFailed("gone")
        return reply(request)

    ran = await bench.run(SCRIPTED, script)
    assert ran.flags == ["error", ""]
    first = next(iter(ran.view.cells()))
    assert first.problem.startswith("turn 2: ") and first.output is None and ran.record["status"] == "incomplete"


async def test_a_row_may_hold_a_conversation_whose_next_answer_is_asked(bench: Bench) -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "When?"},
    ]
    bench.rows([{"messages": messages, "expect": "answer 2"}])
    suite = 'data: rows.jsonl\ntarget: agent\ninputs: {talk: "{{ row.messages }}"}\nmetrics: {right: exact}\n'
    ran = await bench.run(suite, reply)
    assert ran.metric("right")["mean"] == 1.0
    assert [message.content for message in ran.runtime.requests[0].messages][1:] == ["Hi", "Yes?", "When?"]


async def test_a_simulated_user_sees_its_own_texts_as_the_assistants(bench: Bench) -> None:
    ran = await simulated(bench)
    (output,) = outputs(ran)
    assert [message["content"] for message in output["messages"]] == [
        *("question 1", "answer 1"),
        *("question 2", "answer 2"),
    ]
    assert output["ended"] == "until"
    users = [request for request in ran.runtime.requests if is_customer(request)]
    assert users[-1].messages == (
        Message("system", "You are a customer who wants a table."),
        *(Message("assistant", "question 1"), Message("user", "answer 1")),
        *(Message("assistant", "question 2"), Message("user", "answer 2")),
    )


async def test_the_requests_of_a_simulated_user_are_counted_apart(bench: Bench) -> None:
    ran = await simulated(bench)
    (cell,) = ran.view.cells()
    assert (cell.calls, cell.simulated_user["calls"]) == (2, 3)
    assert ran.variant()["calls"] == 2 and ran.variant()["simulated_user"]["calls"] == 3
    assert ran.metric("last")["mean"] == 1.0


async def test_a_user_that_never_ends_is_stopped_and_warned_of(bench: Bench) -> None:
    ran = await simulated(bench, lambda request: "more" if is_customer(request) else "answer")
    (cell,) = ran.view.cells()
    assert (cell.output["ended"], len(cell.output["turns"])) == ("max", 3)
    assert ran.variant()["warnings"] == {"capped": 1} and cell.warnings == {"conversation": ["capped"]}


async def test_a_user_ends_without_a_text_and_where_the_targets_output_says_so(bench: Bench) -> None:
    bench.folder.write(
        "pipelines/guest.yaml",
        """
        inputs: {goal: {}, seen: {type: messages}}
        steps: {next: {prompt: customer}}
        output: "{{ next if seen | length < 4 else none }}"
        """,
    )
    silent = await simulated(bench, text=SIMULATED.replace("user: customer", "user: guest").replace("DONE", "never"))
    assert (outputs(silent)[0]["ended"], len(outputs(silent)[0]["turns"])) == ("user", 2)
    ended = await simulated(bench, text=SIMULATED.replace("'DONE' in message", "output == 'answer 1'"))
    assert (outputs(ended)[0]["ended"], len(outputs(ended)[0]["turns"])) == ("until", 1)


async def test_a_user_that_says_nothing_is_no_wrong_answer_of_the_target(bench: Bench) -> None:
    ran = await simulated(bench, lambda request: "DONE")
    (cell,) = ran.view.cells()
    assert (cell.flag, cell.problem) == ("error", "the simulated user ended the conversation before its first turn")
    assert ran.record["status"] == "incomplete" and ran.metric("last")["n"] == 0


async def test_a_user_that_fails_or_cannot_be_read_leaves_the_cell_missing(bench: Bench) -> None:
    bench.folder.write(
        "templates/prompts/customer.j2",
        CUSTOMER.replace("---\n{%", "answer: {label: [a, b]}\ndecide: generate\n---\n{%"),
    )
    ran = await simulated(bench, lambda request: "neither", cached=False)
    (cell,) = ran.view.cells()
    assert cell.flag == "error" and cell.problem.startswith("the simulated user: ")


async def test_until_must_be_true_or_false(bench: Bench) -> None:
    ran = await simulated(bench, text=SIMULATED.replace("'DONE' in message", "message"))
    (cell,) = ran.view.cells()
    assert cell.flag == "error" and "must be true or false" in cell.problem


async def test_one_user_plays_against_all_variants(bench: Bench) -> None:
    text = SIMULATED + "variants: {one: {}, two: {agent.options.temperature: 0.5}}\n"
    ran = await simulated(bench, text=text)
    assert [cell.output["ended"] for cell in ran.view.cells()] == ["until", "until"]
    assert sum(map(is_customer, ran.runtime.requests)) == 3  # equal conversations have equal replies of the user


async def test_rows_differ_by_what_their_conversations_are_made_of(bench: Bench) -> None:
    bench.rows([{"goal": "a table", "note": 1}, {"goal": "a table", "note": 2}, {"goal": "two tables", "note": 1}])
    ran = await bench.run(SIMULATED, reply)
    first, same, other = (cell.number for cell in ran.view.cells())
    assert first == same != other


async def test_a_field_that_the_user_lacks_is_a_problem_of_its_row(bench: Bench) -> None:
    bench.rows([{"gaol": "a table"}])
    (problem,) = row_problems(bench.suite(SIMULATED))
    assert problem.message.startswith("row 1: ") and "goal" in problem.message


async def test_a_changed_user_is_another_cell(bench: Bench) -> None:
    await simulated(bench)
    assert (await simulated(bench)).record["known"] == 1
    bench.folder.write("templates/prompts/customer.j2", CUSTOMER.replace("wants", "needs"))
    assert (await simulated(bench)).record["known"] == 0


async def test_without_a_trace_the_calls_of_a_cell_are_not_known() -> None:
    with pytest.raises(ValueError, match="not known"):
        Cell(variant="", row=1, repeat=0, fields={}).tool_calls  # noqa: B018


async def test_the_trace_has_both_sides_and_only_the_targets_tool_calls(bench: Bench) -> None:
    ran = await simulated(bench)
    (cell,) = ran.view.cells()
    trace = ran.view.trace(cell.number)
    assert trace is not None and [part["name"] for part in trace["parts"]] == ["turn 1", "turn 2", "end"]
    assert [part["kind"] for part in trace["parts"][0]["parts"]] == ["simulated user", "run"]


async def test_tool_calls_are_of_the_turn_or_of_the_whole_conversation(bench: Bench) -> None:
    bench.folder.write("pipelines/tools.py", "def note(text: str):\n    return text.upper()\n")
    bench.folder.write(
        "pipelines/noting.yaml",
        """
        inputs: {talk: {type: messages}}
        tools: {note: "tools.py:note"}
        steps: {noted: {tool: note, with: {text: "{{ talk[-1].content }}"}}}
        """,
    )
    suite = """
        data: rows.jsonl
        target: noting
        conversation: {turns: "{{ row.turns }}"}
        metrics:
          all: {tool_calls: {expect: [note, note], arguments: any}}
          each: {tool_calls: {each: turn, expect: [{name: note, arguments: {text: "{{ turn.user }}"}}]}}
        """
    bench.rows([{"turns": ["Hi", "Bye"]}])
    ran = await bench.run(suite, reply)
    assert (ran.metric("all")["mean"], ran.metric("each")["mean"]) == (1.0, 1.0)


async def test_a_judge_of_each_turn_is_shown_the_conversation_and_one_of_the_whole_its_text(bench: Bench) -> None:
    judge = '{judge: {rubric: Is it kind?, levels: ["no", "yes"]}}'
    both = f"{{turn: {judge.replace('rubric', 'each: turn, rubric')}, whole: {judge}}}"

    def script(request: Request) -> str:
        return "yes" if "Is it kind?" in request.messages[-1].content else reply(request)

    bench.rows([{"turns": ["Hi", "When?"]}])
    model = Scripted(script, capabilities=without("logprobs"))
    ran = await bench.run(SCRIPTED.replace("{right: {exact: {each: turn}}}", both), model)
    assert (ran.metric("turn")["mean"], ran.metric("whole")["mean"]) == (1.0, 1.0)
    assert [SAME_MODEL in ran.metric(name)["notes"] for name in ("turn", "whole")] == [True, True]
    asked = [text for request in ran.runtime.requests if "kind?" in (text := request.messages[-1].content)]
    assert len(asked) == 3
    assert any("> User: Hi\n> Assistant: answer 1\n> User: When?\n" in text and "> answer 2" in text for text in asked)
    assert any("> User: When?\n> Assistant: answer 2" in text for text in asked)


def problems(bench: Bench, conversation: str, metrics: str = "{right: {exact: {each: turn}}}") -> list[Any]:
    text = f"data: rows.jsonl\ntarget: agent\nconversation: {conversation}\nmetrics: {metrics}\n"
    return [(problem.line, problem.message) for problem in bench.problems(text)]


@pytest.mark.parametrize(
    ("conversation", "message"),
    [
        ("{}", "a conversation has one of `turns`"),
        ('{turns: "{{ row.turns }}", user: customer}', "a conversation has one of `turns`"),
        ('{turns: "{{ row.turns }}", max: 3}', "`max` belong to a simulated `user`"),
        ('{turns: "{{ turns }}"}', "unknown name `turns`"),
        ('{turns: "{{ row.turns }}", history: tlak}', "the target has no input `tlak`"),
        ('{turns: "{{ row.turns }}", message: text}', "the target has no input `text`"),
        ("{user: custmoer}", "there is no pipeline or prompt `custmoer`"),
        ("{user: customer}", "nothing gives `customer` the input `goal`"),
        ("{user: customer, with: {goal: x, gaol: y}}", "`customer` has no input `gaol`"),
        ('{user: customer, with: {goal: x}, until: "{{ done }}"}', "unknown name `done`"),
        ("{user: customer, with: {goal: x}, max: 0}", "`max`"),
        ("{user: customer, with: {goal: x}, most: 3}", "unknown key `most`"),
    ],
)
def test_mistakes_of_a_conversation_are_found_in_the_file(bench: Bench, conversation: str, message: str) -> None:
    found = problems(bench, conversation)
    assert [line for line, _ in found] == [3] and message in found[0][1]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("{right: exact}", "`exact` compares one value, and the output is a conversation"),
        ("{right: {exact: {each: row}}}", "`each` is `turn`"),
        ("{right: {f1: {each: turn}}}", "not the mean of single scores"),
        ("{right: {pairwise: {each: turn, rubric: Which?}}}", "not the mean of single scores"),
        ('{right: {exact: {of: "{{ output.answer }}"}}}', "the output has no `answer`"),
        ('{right: {exact: {of: "{{ turn.answer }}"}}}', "unknown name `turn`"),
    ],
)
def test_mistakes_of_its_metrics_are_found_in_the_file(bench: Bench, metrics: str, message: str) -> None:
    ((line, found),) = problems(bench, '{turns: "{{ row.turns }}"}', metrics)
    assert line == 4 and message in found


def test_all_mistakes_of_a_simulated_user_are_reported_together(bench: Bench) -> None:
    found = problems(bench, '{user: gest, model: "no/such:model", until: "{{ done }}", with: {goal: "{{ gaol }}"}}')
    assert len(found) == 4 and {line for line, _ in found} == {3}


def test_each_turn_needs_a_conversation(bench: Bench) -> None:
    (problem,) = bench.problems("data: rows.jsonl\ntarget: mood\nmetrics: {right: {label: {each: turn}}}\n")
    assert "no `conversation`" in problem.message and problem.hint


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"turns": "Hi"}, "`turns` must be a list of texts"),
        ({"turns": []}, "the conversation has no turn"),
        ({"turns": ["Hi", 3]}, "turn 2 of the conversation is not a text: 3"),
        ({"turns": ["Hi", " "]}, "turn 2 of the conversation is not a text"),
        ({"turns": ["Hi", "Bye"], "expect": ["x"]}, "1 expected answers for 2 turns"),
        ({"turns": ["Hi"]}, "finds no expected answer for any turn"),
        ({"turns": ["Hi"], "expect": ["x"], "talk": [{"role": "bot", "content": "Hi"}]}, "roles are system"),
    ],
)
def test_mistakes_of_a_row_are_found_before_a_request(bench: Bench, row: Mapping[str, Any], message: str) -> None:
    bench.rows([row])
    (problem,) = row_problems(bench.suite(SCRIPTED))
    assert problem.message.startswith("row 1: ") and message in problem.message


def test_the_turns_of_a_table_are_a_list_in_its_cell(bench: Bench) -> None:
    (bench.folder.root / "evals/rows.csv").write_text(
        f'turns\n"{compact(["Hi", "Bye"]).replace(chr(34), chr(34) * 2)}"\n'
    )
    suite = bench.suite(SCRIPTED.replace("rows.jsonl", "rows.csv").replace("exact", "length"))
    assert row_problems(suite) == []


async def test_a_turn_to_which_a_metric_does_not_apply_is_left_out(bench: Bench) -> None:
    bench.folder.write("evals/own.py", "def score(output):\n    return None if output == 'answer 2' else 1\n")
    ran = await bench.run(SCRIPTED.replace("{exact: {each: turn}}", "{python: {function: 'own.py:score', each: turn}}"))
    assert ran.metric("right")["mean"] == 1.0

    bench.folder.write("evals/own.py", "def score(output):\n    return None\n")
    ran = await bench.run(SCRIPTED.replace("{exact: {each: turn}}", "{python: {function: 'own.py:score', each: turn}}"))
    assert (ran.metric("right")["exempt"], ran.metric("right")["unscored"]) == (2, 0)


def test_a_metric_of_turns_asks_and_times_as_the_metric_that_scores_them(bench: Bench) -> None:
    jury = "{judge: {each: turn, rubric: Polite?, levels: [poor, good], models: [ollama/a, ollama/b]}}"
    metrics = f"{jury}, pace: {{latency: {{each: turn}}}}"
    suite = bench.suite(SCRIPTED.replace("{exact: {each: turn}}", metrics))
    right, pace = (measure.metric for measure in suite.measures)
    assert right.models == ("ollama/a", "ollama/b")
    assert (right.timed, pace.timed) == (False, True)


def test_times_are_of_a_whole_conversation_too(bench: Bench) -> None:
    metrics = "{exact: {each: turn}}, first: first_token, speed: tokens_per_second"
    suite = bench.suite(SCRIPTED.replace("{exact: {each: turn}}", metrics))
    assert [measure.name for measure in suite.measures] == ["right", "first", "speed"]


def test_serving_is_not_measured_on_a_conversation(bench: Bench) -> None:
    (problem,) = bench.problems(SCRIPTED + "serving: [1]\n")
    assert "serving cannot be measured on a conversation" in problem.message
    assert (problem.line, problem.hint) == (5, "measure serving in a suite without `conversation`")


async def test_a_person_labels_a_whole_conversation_and_reads_it_as_text(bench: Bench) -> None:
    text = SCRIPTED.replace("metrics: {", "metrics: {fine: human, ")
    ran = await bench.run(text, reply)
    suite = bench.suite(text)
    measure = labelled_measure(suite, None)
    found = find_items(ran.view, suite, measure, label_levels(measure))

    short = min(found.items, key=lambda item: len(item.answer))
    assert (short.answer, short.shown) == ("User: Hello\nAssistant: answer 1", {})


def test_a_label_is_not_of_turns(bench: Bench) -> None:
    with pytest.raises(InputError, match="`right` scores each turn: a label is of one answer"):
        labelled_measure(bench.suite(SCRIPTED), "right")
    (problem,) = bench.problems(SCRIPTED.replace("{exact: {each: turn}}", "{human: {each: turn}}"))
    assert problem.message == "a person's label is of one answer, not of each turn"
