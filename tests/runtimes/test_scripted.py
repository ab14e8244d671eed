"""The one fake: answers from a list, a function or a file, with the requests that were seen."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import BadReply, InputError, RequestRefused, ServerFailed, Unsupported
from promptkit.runtimes.base import Alternative, FunctionCall, Message, Reply, Request, Token, ToolDefinition
from promptkit.runtimes.client import Client
from promptkit.runtimes.references import open_runtime
from promptkit.runtimes.scripted import Scripted, load_script, split_tokens


def say(text: str, **options: object) -> Request:
    return Request(messages=(Message("user", text),), **options)  # type: ignore[arg-type]


async def ask(runtime: Scripted, *said: str) -> list[str]:
    return [(await runtime.answer(say(text))).text for text in said]


async def test_replies_are_given_in_order_and_requests_are_kept() -> None:
    runtime = Scripted(["one", Reply(text="two", finish="length")])
    assert await ask(runtime, "a", "b") == ["one", "two"]
    assert [request.messages[0].content for request in runtime.requests] == ["a", "b"]


async def test_running_out_says_how_many_there_were_and_what_was_asked() -> None:
    runtime = Scripted(["one"], reference="scripted:a.yaml")
    await ask(runtime, "a")
    with pytest.raises(RequestRefused, match=r"scripted:a.yaml has no reply left: all 1 .*: what now$"):
        await ask(runtime, "what now")


async def test_what_has_no_reply_left_is_quoted_in_one_short_line_of_whole_words() -> None:
    said = " ".join(f"word{number}" for number in range(99))
    with pytest.raises(RequestRefused) as refused:
        await ask(Scripted([]), f"Sort the mail.\n{said}\nSentiment")
    quote = refused.value.message.partition("the request was: ")[2]
    assert len(quote) <= 80 and quote.startswith("…word") and quote.endswith(" word98 Sentiment")
    assert set(quote[1:].split()) <= {*said.split(), "Sentiment"}


async def test_a_function_answers_by_the_request_and_may_wait() -> None:
    async def later(request: Request) -> str:
        await asyncio.sleep(0)
        return request.messages[0].content.upper()

    assert await ask(Scripted(later), "a") == await ask(Scripted(lambda request: "A"), "a") == ["A"]


async def test_an_exception_is_raised() -> None:
    with pytest.raises(ServerFailed):
        await ask(Scripted([ServerFailed("tired")]), "a")


async def test_a_text_is_cut_as_a_model_would_cut_it() -> None:
    runtime = Scripted(lambda request: "one two three. four")
    whole = await runtime.answer(say("a"))
    assert (whole.finish, whole.tokens_out) == ("stop", 5)
    cut = await runtime.answer(say("a", max_tokens=2))
    assert (cut.text, cut.finish, cut.tokens_out) == ("one two", "length", 2)
    stopped = await runtime.answer(say("a", stop=(".",)))
    assert (stopped.text, stopped.finish) == ("one two three", "stop")


async def test_a_reply_is_handed_over_as_it_is() -> None:
    reply = Reply(text="one two three", seconds=2.0)
    assert await Scripted([reply]).answer(say("a", max_tokens=1)) == reply


async def test_log_probabilities_are_given_where_they_are_asked_for() -> None:
    runtime = Scripted(lambda request: " yes")
    assert (await runtime.answer(say("a"))).tokens == ()
    (token,) = (await runtime.answer(say("a", alternatives=5))).tokens
    assert token == Token(b" yes", 0.0, (Alternative(b" yes", 0.0),))


async def test_without_a_capability_there_is_no_tokenizer_template_or_embedding() -> None:
    runtime = Scripted([], capabilities={"chat"})
    assert await runtime.tokenize("a") is None
    assert await runtime.template(say("a").messages) is None
    with pytest.raises(Unsupported):
        await runtime.embed(["a"])


@given(st.text())
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    assert b"".join(split_tokens(text)).decode("utf-8", "surrogatepass") == text


def test_a_word_and_the_blank_before_it_are_one_piece() -> None:
    assert split_tokens("Mood: very good\n") == (b"Mood", b":", b" very", b" good", b"\n")


SCRIPT = """
model: tiny
capabilities: [chat, stop]
context: 2048
rules:
  - {contains: billing, reply: pricing concerns}
  - {match: "(?i)refund|invoice", replies: [one, {text: two, finish: length}]}
  - {contains: twice, reply: again, times: 2}
replies:
  - first
  - {error: the server is tired}
otherwise: others
"""


async def test_a_script_answers_by_its_rules_then_in_order_then_otherwise(tmp_path: Path) -> None:
    runtime = written(tmp_path, SCRIPT)
    assert await ask(runtime, "my billing", "Refund", "an invoice") == ["pricing concerns", "one", "two"]
    assert await ask(runtime, "twice", "twice", "billing") == ["again", "again", "pricing concerns"]
    assert await ask(runtime, "twice") == ["first"]
    with pytest.raises(ServerFailed, match="tired"):
        await ask(runtime, "refund")
    assert await ask(runtime, "what", "ever") == ["others", "others"]


async def test_a_script_describes_its_model(tmp_path: Path) -> None:
    model = await written(tmp_path, SCRIPT).model()
    assert (model.reference, model.context) == ("tiny", 2048)
    assert model.capabilities == frozenset({"chat", "stop"})
    other = await written(tmp_path, SCRIPT + "# changed").model()
    assert other.digest != model.digest


async def test_the_short_form_is_a_list_of_replies(tmp_path: Path) -> None:
    runtime = written(tmp_path, "[one, two]")
    assert await ask(runtime, "a", "b") == ["one", "two"]
    with pytest.raises(RequestRefused, match=r"no reply left for: c$"):
        await ask(runtime, "c")


async def test_tokens_of_a_script_are_ranked_and_make_the_text(tmp_path: Path) -> None:
    reply = await written(tmp_path, '- {tokens: [{" no": -2, " yes": -0.5}]}').answer(say("a"))
    assert reply.text == " yes"
    assert reply.tokens[0].alternatives == (Alternative(b" yes", -0.5), Alternative(b" no", -2.0))


WRONG = [
    ("repliez: [a]", 1, "repliez"),
    ("rules:\n  - {contains: a}", 2, "one of `reply` and `replies`"),
    ("rules:\n  - {reply: a}", 2, "one of `contains` and `match`"),
    ("rules:\n  - {match: '(', reply: a}", 2, "is not a regular expression"),
    ("capabilities: [chat, fly]", 1, "fly"),
    ("- {txt: a}", 1, "txt"),
]


@pytest.mark.parametrize(("text", "line", "said"), WRONG)
def test_what_is_wrong_in_a_script_is_said_with_its_place(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(InputError) as caught:
        written(tmp_path, text)
    assert any(problem.line == line for problem in caught.value.problems)
    assert said in str(caught.value)


async def test_a_function_in_a_file_answers(tmp_path: Path) -> None:
    (tmp_path / "fake.py").write_text("def shout(request):\n    return request.messages[0].content.upper()\n")
    runtime = await open_runtime("scripted:fake.py:shout", base=tmp_path)
    assert (await runtime.answer(say("hi"))).text == "HI"


SCRIPT_OF_CALLS = """\
capabilities: [chat, function_calls, template]
rules:
  - {contains: "look({\\"q\\":\\"tea\\"})\\nIt is green.", reply: green}
  - {contains: "Error:", reply: {text: I try again., calls: [{name: look, arguments: "not JSON", id: x}]}}
  - {contains: colour, reply: {calls: [{name: look, arguments: {q: tea}}, {name: look}]}}
"""
LOOK = ToolDefinition(name="look", description="Looks it up.", parameters={"type": "object"})


async def test_a_rule_matches_calls_and_their_results(tmp_path: Path) -> None:
    (tmp_path / "calls.yaml").write_text(SCRIPT_OF_CALLS, "utf-8")
    client = Client(await open_runtime("scripted:calls.yaml", base=tmp_path))
    first = await client.ask(say("Which colour?", tools=(LOOK,)))
    assert [(call.id, call.name, call.arguments) for call in first.calls] == [
        ("call_1", "look", '{"q":"tea"}'),
        ("call_2", "look", "{}"),
    ]

    async def after(result: str) -> Reply:
        turns = (Message("assistant", "", first.calls[:1]), Message("tool", result, (), "call_1", "look"))
        return await client.ask(Request(messages=(Message("user", "Which colour?"), *turns), tools=(LOOK,)))

    assert (await after("It is green.")).text == "green"
    again = await after("Error: no network")
    assert (again.text, again.calls) == ("I try again.", (FunctionCall(id="x", name="look", arguments="not JSON"),))
    shown = await client.template((Message("user", "a"),), "", (LOOK,))
    assert shown and "Looks it up." in shown


async def test_a_function_in_a_file_may_call_tools(tmp_path: Path) -> None:
    (tmp_path / "fake.py").write_text(
        "from promptkit.runtimes.base import FunctionCall, Reply\n"
        "def call(request):\n"
        "    return Reply(text='', calls=(FunctionCall(id='a', name=request.tools[0].name, arguments='{}'),))\n"
        "call.capabilities = {'chat', 'function_calls'}\n",
        "utf-8",
    )
    client = Client(await open_runtime("scripted:fake.py:call", base=tmp_path))
    assert (await client.ask(say("a", tools=(LOOK,)))).calls == (FunctionCall(id="a", name="look", arguments="{}"),)


async def test_two_functions_of_a_file_are_two_models(tmp_path: Path) -> None:
    (tmp_path / "fake.py").write_text("def one(request):\n    return '1'\n\ndef two(request):\n    return '2'\n")
    one, two, again = [await open_runtime(f"scripted:fake.py:{each}", base=tmp_path) for each in ("one", "two", "one")]
    assert (await one.model()).digest == (await again.model()).digest != (await two.model()).digest


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def shout(r): ...", "did you mean `shout`"),
        ("1/0", "it has no function `shuot`"),
        ("def", "SyntaxError"),
        ("def shuot(r): ...\nshuot.capabilities = {'fly'}", "must be a set of: chat, complete"),
        ("def shuot(r): ...\nshuot.capabilities = able()", "must be a set of"),
    ],
)
async def test_a_python_file_that_is_wrong_is_an_error_of_input(tmp_path: Path, code: str, said: str) -> None:
    (tmp_path / "fake.py").write_text(code)
    with pytest.raises(InputError, match=said):
        await open_runtime("scripted:fake.py:shuot", base=tmp_path)


@pytest.mark.parametrize("wrong", ["seconds=float('inf')", "tokens_in=-5", "finish='error'"])
async def test_a_reply_of_a_function_whose_values_cannot_be_true_is_refused(tmp_path: Path, wrong: str) -> None:
    code = f"from promptkit.runtimes.base import Reply\ndef answer(request):\n    return Reply(text='a', {wrong})\n"
    (tmp_path / "fake.py").write_text(code)
    runtime = await open_runtime("scripted:fake.py:answer", base=tmp_path)
    with pytest.raises(BadReply, match="whose values cannot be true"):
        await runtime.answer(say("hi"))


@pytest.mark.parametrize(
    ("code", "said"),
    [("return 1 / 0", "raised ZeroDivisionError"), ("return {}", "returned dict"), ("pass", "returned NoneType")],
)
async def test_a_function_that_fails_is_a_failure_of_the_model(tmp_path: Path, code: str, said: str) -> None:
    (tmp_path / "fake.py").write_text(f"def answer(request):\n    {code}\n")
    runtime = await open_runtime("scripted:fake.py:answer", base=tmp_path)
    with pytest.raises(ServerFailed, match=f"scripted:fake.py:answer {said}"):
        await runtime.answer(say("hi"))


@pytest.mark.attack("regex")
async def test_a_pattern_of_a_script_that_finds_no_end_fails_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptkit.workers.patterns.PATTERN_SECONDS", 0.3)
    runtime = written(tmp_path, "rules:\n  - {match: '(a+)+$', reply: one}\n  - {match: b, reply: two}")
    with pytest.raises(ServerFailed, match=r"the search for '\(a\+\)\+\$' or 'b' took longer than 0.3 seconds"):
        await runtime.answer(say("a" * 40 + "!"))
    assert (await runtime.answer(say("b!"))).text == "two"


async def test_rules_give_their_replies_in_the_order_of_the_requests(tmp_path: Path) -> None:
    numbers = [str(number) for number in range(20)]
    runtime = written(tmp_path, f"rules:\n  - {{match: 'hi|ho', replies: {numbers}}}")
    replies = await asyncio.gather(*(runtime.answer(say("hi")) for _ in range(20)))
    assert [reply.text for reply in replies] == numbers


async def test_a_script_in_a_file_keeps_nothing_of_what_it_was_asked(tmp_path: Path) -> None:
    runtime = written(tmp_path, "otherwise: fine")
    assert (await runtime.answer(say("a"))).text == "fine"
    assert runtime.requests == []


def written(folder: Path, text: str) -> Scripted:
    path = folder / "script.yaml"
    path.write_text(text)
    return load_script(path, f"scripted:{path}")
