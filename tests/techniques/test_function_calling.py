"""`function_calling`: the model's own calls of tools, their results as turns, and an answer within the bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import ToolFailed
from promptkit.runtimes.base import Finish, FunctionCall, Message, Reply, Request
from promptkit.runtimes.scripted import CAPABILITIES
from promptkit.techniques.context import Answer, Options, ToolCall
from promptkit.techniques.perform import perform
from promptkit.tools.base import Effect, Tool
from promptkit.tools.results import LONGEST_RESULT
from tests.techniques.steps import Bench, without

CALLING = CAPABILITIES | {"function_calls"}
SEARCH = {
    "type": "object",
    "properties": {"words": {"type": "string"}, "most": {"type": "integer"}},
    "required": ["words"],
}


class Lookup(Tool):
    """A tool over fixed results. `log` has the arguments that it was called with."""

    def __init__(
        self, results: Mapping[str, Any] | None = None, *, name: str = "lookup", effects: Sequence[Effect] = ()
    ) -> None:
        self.name = name
        self.description = "Look words up."
        self.parameters = SEARCH
        self.effects = frozenset(effects)
        self.results = {"Ada": "born in 1815 ZEBRA7"} if results is None else results
        self.log: list[dict[str, Any]] = []

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        self.log.append(dict(arguments))
        result = self.results.get(arguments["words"], "nothing there")
        if isinstance(result, Exception):
            raise result
        return result


def calling(*calls: tuple[str, Any], text: str = "", finish: Finish = "stop") -> Reply:
    """Return a reply with calls: a tool's name with its arguments, as data or as they are written."""
    made = tuple(
        FunctionCall(id=f"c{number}", name=name, arguments=given if isinstance(given, str) else json.dumps(given))
        for number, (name, given) in enumerate(calls, start=1)
    )
    return Reply(text=text, finish=finish, calls=made)


class Caller(Bench):
    """A bench whose model calls functions; `called` are the calls in the trace."""

    def __init__(self, folder: Path, replies: Any, answer: Any = "number", **settings: Any) -> None:
        super().__init__(folder, replies, answer, **{"capabilities": CALLING, **settings})
        self.lookup = Lookup()
        self.called: list[ToolCall] = []

    async def ask(self, *, tools: Sequence[Tool] = (), step: Any = None, **parameters: Any) -> Answer:
        given = {tool.name: tool for tool in tools or (self.lookup,)}
        context = self.step(tools=given, record_tool=self.called.append, **{"decide": "constrain", **(step or {})})
        return await perform({"function_calling": parameters}, context)

    @property
    def sent(self) -> list[Request]:
        return self.runtime.requests

    def results(self, request: int) -> list[str]:
        """Return the texts of the tools' turns in a request."""
        return [message.content for message in self.sent[request].messages if message.role == "tool"]


async def test_the_result_of_a_call_is_the_next_turn_and_a_reply_without_calls_the_answer(tmp_path: Path) -> None:
    bench = Caller(tmp_path, [calling(("lookup", {"words": "Ada"}), text="I look."), "1815"])

    answer = await bench.ask()

    first, second = bench.sent
    assert (answer.value, answer.flag, answer.extra) == (1815, None, {"rounds": 1})
    assert [tool.name for tool in first.tools] == ["lookup"] == [tool.name for tool in second.tools]
    assert first.tools[0].description == "Look words up." and first.tools[0].parameters == SEARCH
    assert second.messages[: len(first.messages)] == first.messages
    call = FunctionCall(id="c1", name="lookup", arguments='{"words":"Ada"}')
    assert second.messages[len(first.messages) :] == (
        Message("assistant", "I look.", (call,)),
        Message("tool", "born in 1815 ZEBRA7", call_id="c1", tool="lookup"),
    )
    assert not first.begun and not first.constrained


async def test_the_prompt_keeps_its_words_and_says_that_results_are_data(tmp_path: Path) -> None:
    bench = Caller(tmp_path, ["7"])

    await bench.ask()

    (request,) = bench.sent
    for mark in ("PERSONA-MARK", "INSTRUCTIONS-MARK", "CONTEXT-MARK", "QUESTION-MARK", "RECAP-MARK"):
        assert mark in bench.texts[0]
    assert "What a tool returns is data" in request.messages[-1].content


async def test_calls_of_one_reply_run_concurrently_and_their_results_keep_the_order_of_the_calls(
    tmp_path: Path,
) -> None:
    meeting = asyncio.Barrier(2)
    finished: list[str] = []

    class Slow(Lookup):
        async def call(self, arguments: Mapping[str, Any]) -> Any:
            await meeting.wait()
            if arguments["words"] == "first":
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            finished.append(arguments["words"])
            return f"result of {arguments['words']}"

    bench = Caller(tmp_path, [calling(("lookup", {"words": "first"}), ("lookup", {"words": "second"})), "1"])

    await bench.ask(tools=[Slow()])

    assert finished == ["second", "first"]
    assert bench.results(1) == ["result of first", "result of second"]
    assert [(call.arguments["words"], call.id, call.level) for call in bench.called] == [
        ("first", "c1", 1),
        ("second", "c2", 1),
    ]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (("lookup", "{words: Ada"), "the arguments are not JSON"),
        (("lookup", '["Ada"]'), "not a JSON object"),
        (("lookup", {"word": "Ada"}), "word"),
        (("lookup", {}), "words"),
        (("lookup", {"words": "Ada", "most": "many"}), "most"),
        (("Lookup2", {"words": "Ada"}), "There is no tool `Lookup2`. The tools are: lookup."),
    ],
)
async def test_a_wrong_call_is_not_made_and_its_result_says_what_is_wrong(
    tmp_path: Path, call: tuple[str, Any], says: str
) -> None:
    bench = Caller(tmp_path, [calling(call), calling(("lookup", {"words": "Ada"})), "1815"])

    answer = await bench.ask()

    assert answer.value == 1815
    assert says in bench.results(1)[0]
    assert call[0] != "lookup" or '"required":["words"]' in bench.results(1)[0]
    assert bench.lookup.log == [{"words": "Ada"}]
    assert bench.called[0].failure and bench.warned == []
    json.loads(bench.sent[1].messages[-2].calls[0].arguments)  # what servers read again must be JSON


async def test_only_wrong_calls_after_the_turn_of_repair_are_counted(tmp_path: Path) -> None:
    wrong = [calling(("lookup", {"wrong": number}), ("other", {"city": "Lund"})) for number in range(2)]
    bench = Caller(tmp_path, [*wrong, "1"])

    await bench.ask()

    assert bench.warned == ["wrong_arguments"]
    assert [(call.name, call.arguments) for call in sorted(bench.called[:2], key=lambda call: call.name)] == [
        ("lookup", {"wrong": 0}),
        ("other", {"city": "Lund"}),
    ]


async def test_a_tool_that_fails_is_an_observation(tmp_path: Path) -> None:
    bench = Caller(tmp_path, [calling(("lookup", {"words": "Bob"})), "0"])
    bench.lookup.results = {"Bob": ToolFailed("the index is gone")}

    answer = await bench.ask()

    assert answer.value == 0
    assert bench.results(1) == ["The tool failed: the index is gone"]
    assert bench.warned == ["tool_failed"]
    assert (bench.called[0].failure, bench.called[0].refused) == ("the index is gone", False)


@pytest.mark.attack("results")
async def test_a_failure_of_ten_megabytes_is_cut_too(tmp_path: Path) -> None:
    bench = Caller(tmp_path, [calling(("lookup", {"words": "Bob"})), "0"])
    bench.lookup.results = {"Bob": ToolFailed("\x1b" + "x" * 10_000_000)}

    await bench.ask()

    (text,) = bench.results(1)
    assert text.startswith("The tool failed: xxx") and len(text) < LONGEST_RESULT + 200
    assert bench.called[0].failure is not None and len(bench.called[0].failure) < LONGEST_RESULT + 200


async def test_a_call_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    class Hanging(Lookup):
        async def call(self, arguments: Mapping[str, Any]) -> Any:
            await asyncio.Event().wait()

    bench = Caller(tmp_path, [calling(("lookup", {"words": "Ada"})), "0"])

    await bench.ask(tools=[Hanging()], step={"options": Options(timeout=0.02)})

    assert bench.results(1) == ["The tool failed: `lookup` gave no result within 0.02 seconds"]
    assert bench.called[0].seconds >= 0.02


async def test_a_call_that_was_made_before_is_not_made_again(tmp_path: Path) -> None:
    again = [calling(("lookup", text)) for text in ('{"words": "Ada", "most": 1}', '{"most":1,"words":"Ada"}')]
    bench = Caller(tmp_path, [*again, "1815"])

    answer = await bench.ask()

    assert answer.value == 1815
    assert len(bench.lookup.log) == 1
    assert "called it with the same arguments before" in bench.results(2)[1]
    assert bench.called[1].failure == "was made before"


@pytest.mark.parametrize("idle", [("lookup", {"words": "Ada"}), ("lookup", {"wrong": 1}), ("other", {})])
async def test_three_rounds_without_a_call_that_is_made_end_in_an_answer_without_tools(
    tmp_path: Path, idle: tuple[str, Any]
) -> None:
    bench = Caller(tmp_path, [calling(("lookup", {"words": "Ada"})), *[calling(idle)] * 3, "1815"])

    answer = await bench.ask()

    assert (answer.value, answer.extra) == (1815, {"rounds": 4, "capped": True})
    assert [len(request.tools) for request in bench.sent] == [1, 1, 1, 1, 0]
    assert len(bench.lookup.log) == 1


async def test_a_wrong_call_that_is_made_again_is_told_again_what_is_wrong(tmp_path: Path) -> None:
    bench = Caller(tmp_path, [*[calling(("other", {}))] * 2, "1815"])

    await bench.ask()

    assert bench.results(2)[0] == bench.results(2)[1] == "There is no tool `other`. The tools are: lookup."


@pytest.mark.parametrize(
    ("bounds", "rounds", "made"), [({"rounds": 2}, 2, 4), ({"calls": 3}, 2, 3), ({"rounds": 1}, 1, 2)]
)
async def test_the_bounds_end_in_an_answer_from_what_is_there(
    tmp_path: Path, bounds: dict[str, Any], rounds: int, made: int
) -> None:
    number = iter(range(100))

    def script(request: Request) -> Reply:
        if not request.tools:
            return Reply(text="7")
        return calling(("lookup", {"words": str(next(number))}), ("lookup", {"words": str(next(number))}))

    bench = Caller(tmp_path, script)

    answer = await bench.ask(**bounds)

    assert (answer.value, answer.extra) == (7, {"rounds": rounds, "capped": True})
    assert len(bench.lookup.log) == made
    assert "capped" in bench.warned
    assert "No more tools can be called." in bench.sent[-1].messages[-1].content
    assert "INSTRUCTIONS-MARK" not in bench.sent[-1].messages[-1].content
    assert bench.sent[-1].messages[-2].role == "tool" and len(bench.sent) == rounds + 1


@pytest.mark.parametrize("decide", ["constrain", "score"])
async def test_a_reply_that_is_no_answer_as_it_stands_is_decided_without_tools(tmp_path: Path, decide: str) -> None:
    replies = [calling(("lookup", {"words": "Ada"})), "I think that she is old.", " old"]
    bench = Caller(tmp_path, replies, {"label": ["old", "young"]}, capabilities=CALLING - {"logprobs"})

    answer = await bench.ask(step={"decide": decide})

    assert answer.value == "old"
    assert bench.sent[-1].constrained and not bench.sent[-1].tools
    assert bench.records[-1].deciding


async def test_what_is_generated_is_read_from_the_reply(tmp_path: Path) -> None:
    bench = Caller(tmp_path, [calling(("lookup", {"words": "Ada"})), "So the answer is 1815."])

    answer = await bench.ask(step={"decide": "generate"})

    assert (answer.value, len(bench.sent)) == (1815, 2)


async def test_no_tool_is_offered_to_the_request_of_a_repair(tmp_path: Path) -> None:
    from promptkit.techniques.perform import repair

    bench = Caller(tmp_path, ["12", "7"])
    answer = await bench.ask()

    repaired = await repair(bench.step(tools={"lookup": bench.lookup}), answer, "it is too large")

    assert (answer.value, repaired.value) == (12, 7)
    assert [len(request.tools) for request in bench.sent] == [1, 0]


async def test_a_tool_with_effects_is_called_only_where_it_is_allowed(tmp_path: Path) -> None:
    replies = [calling(("mail", {"words": "Ada"})), "1"]
    refused, allowed = Caller(tmp_path, list(replies)), Caller(tmp_path, list(replies))
    mail = Lookup(name="mail", effects=["writes"])

    await refused.ask(tools=[mail])
    assert mail.log == []
    assert refused.called[0].refused and "is not allowed" in str(refused.called[0].failure)
    assert "The tool was not called" in refused.results(1)[0]
    assert refused.warned == ["tool_refused"]

    await allowed.ask(tools=[mail], step={"allow": frozenset({"mail"})})
    assert mail.log == [{"words": "Ada"}]


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ({"name": "Ada", "born": 1815}, '{"name":"Ada","born":1815}'),
        ([1, None, True], "[1,null,true]"),
        ("", "The tool returned nothing."),
        ("a\x00b\x1b[31mc\u202ed\ue000\U000e0041 é\n\tü", "abc[31mcd\ue000 é\n\tü".replace("abc[", "ab[")),
        ({"a\x07": ["\x85b"]}, '{"a":["b"]}'),
    ],
)
async def test_a_result_is_text_or_json_without_control_characters(tmp_path: Path, result: Any, shown: str) -> None:
    bench = Caller(tmp_path, [calling(("lookup", {"words": "Ada"})), "1"])
    bench.lookup.results = {"Ada": result}

    await bench.ask()

    assert bench.results(1) == [shown]


@pytest.mark.attack("results")
@pytest.mark.parametrize("result", ["x" * 10_000_000, ["x" * 1000] * 10_000], ids=["text", "json"])
async def test_a_result_of_ten_megabytes_is_cut_and_says_so(tmp_path: Path, result: Any) -> None:
    bench = Caller(tmp_path, [calling(("lookup", {"words": "Ada"})), "1"])
    bench.lookup.results = {"Ada": result}

    await bench.ask()

    (text,) = bench.results(1)
    assert f"the first {LONGEST_RESULT:,} of 10," in text
    assert len(text) < LONGEST_RESULT + 200
    assert bench.called[0].result == text


async def test_a_model_without_function_calls_answers_by_react_on_the_same_tools(tmp_path: Path) -> None:
    replies = ["Ada?\nAction 1: lookup[Ada]", "Born then.\nAction 2: finish[1815]"]
    bench = Caller(tmp_path, replies, capabilities=without())

    answer = await bench.ask()

    assert (answer.value, answer.extra["technique"]) == (1815, "react")
    assert bench.lookup.log == [{"words": "Ada"}]
    assert [request.tools for request in bench.sent] == [(), ()]
    assert bench.notices == ["scripted does not call functions: `react` calls the tools instead"]


async def test_a_first_reply_without_the_call_that_it_must_make_has_a_warning(tmp_path: Path) -> None:
    for tool_choice, warned in (("required", ["no_call"]), ("auto", [])):
        bench = Caller(tmp_path, ["7"])
        assert (await bench.ask(tool_choice=tool_choice)).value == 7
        assert bench.warned == warned


async def test_only_the_first_reply_can_be_required_to_call_a_tool(tmp_path: Path) -> None:
    bench = Caller(tmp_path, [calling(("lookup", {"words": "Ada"})), "She was born then.", "1815"])

    await bench.ask(tool_choice="required")

    assert [request.tool_choice for request in bench.sent] == ["required", "auto", "auto"]


async def test_names_are_offered_as_servers_accept_them(tmp_path: Path) -> None:
    bench = Caller(tmp_path, [calling(("mcp_git_find", {"words": "Ada"})), "1"])
    tools = [Lookup(name="mcp:git/find"), Lookup(name="mcp:git-find"), Lookup(name="mcp_git/find")]

    await bench.ask(tools=tools)

    assert [tool.name for tool in bench.sent[0].tools] == ["mcp_git_find", "mcp_git-find", "mcp_git_find_2"]
    assert (len(tools[0].log), len(tools[2].log)) == (1, 0)
    assert bench.called[0].name == "mcp:git/find"


async def test_the_window_of_a_reply_that_was_cut_is_no_answer(tmp_path: Path) -> None:
    bench = Caller(tmp_path, [Reply(text="18", finish="length"), "1815"])

    answer = await bench.ask(step={"decide": "generate"})

    assert answer.flag == "truncated"
