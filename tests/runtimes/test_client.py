"""Limiter, retry, deadline and cache around any runtime."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import get_args

import pytest
import stamina

from promptkit.errors import (
    AccessDenied,
    BadReply,
    ConnectionFailed,
    DeadlinePassed,
    RequestRefused,
    RuntimeFailure,
    ServerBusy,
    ServerFailed,
    StoreFailed,
    Unsupported,
)
from promptkit.runtimes.base import Capability, HiddenState, Message, Model, OnText, Reply, Request, Runtime, Thought
from promptkit.runtimes.client import Client, required_capabilities
from promptkit.runtimes.scripted import Scripted

HELLO = Request(messages=(Message("user", "hello"),))


class Memory:
    """A store's cache without the store."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def cached(self, key: str) -> str | None:
        return self.kept.get(key)

    async def keep(self, key: str, value: str) -> None:
        await asyncio.sleep(0)
        self.kept[key] = value


class Gate:
    """Answers once it is opened; counts the answers that were cancelled."""

    def __init__(self, text: str = "yes") -> None:
        self.open = asyncio.Event()
        self.cancelled = 0
        self._text = text

    async def __call__(self, request: Request) -> str:
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self._text


def numbered(count: int) -> list[Request]:
    return [Request(messages=(Message("user", str(number)),)) for number in range(count)]


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=4, cap=True):
        yield


async def test_a_request_is_answered() -> None:
    reply = await Client(Scripted(["hi"])).ask(HELLO)
    assert (reply.text, reply.cached) == ("hi", False)


async def test_a_described_model_is_described_once() -> None:
    class Slow(Scripted):
        described = 0

        async def model(self) -> Model:
            self.described += 1
            await asyncio.sleep(0)
            return await super().model()

    runtime = Slow(lambda request: "hi")
    client = Client(runtime)
    await asyncio.gather(*(client.ask(request) for request in numbered(5)))
    assert runtime.described == 1


UNABLE: list[tuple[Capability, Request]] = [
    ("chat", HELLO),
    ("complete", Request(prompt="Once")),
    ("continue", replace(HELLO, begun="Answer:")),
    ("system", Request(messages=(Message("system", "be brief"), Message("user", "hello")))),
    ("grammar", replace(HELLO, grammar='root ::= "a"')),
    ("guidance", replace(HELLO, grammar="%llguidance {}")),
    ("choice", replace(HELLO, choice=("a", "b"))),
    ("regex", replace(HELLO, regex="[ab]")),
    ("schema", replace(HELLO, schema={"type": "string"})),
    ("object_schema", replace(HELLO, schema={"type": "object"})),
    ("json_object", replace(HELLO, json_object=True)),
    ("logprobs", replace(HELLO, alternatives=5)),
    ("sampling", replace(HELLO, temperature=0.7)),
    ("stop", replace(HELLO, stop=("\n",))),
    ("seed", replace(HELLO, seed=0)),
    ("think", replace(HELLO, think=True)),
]


@pytest.mark.parametrize(("capability", "request_"), UNABLE)
async def test_what_a_model_cannot_do_is_an_error_before_anything_is_sent(
    capability: Capability, request_: Request
) -> None:
    without = {capability, "schema"} if capability == "object_schema" else {capability}
    capabilities = set(get_args(Capability)) - without - {"thinks"}
    runtime = Scripted(["hi"], capabilities=capabilities, reference="ollama/a")
    with pytest.raises(Unsupported, match="ollama/a cannot"):
        await Client(runtime).ask(request_)
    assert runtime.requests == []
    assert capability in required_capabilities(request_)


async def test_a_model_that_enforces_any_schema_enforces_that_of_an_object() -> None:
    runtime = Scripted(["{}"], capabilities={"chat", "schema"})
    assert (await Client(runtime).ask(replace(HELLO, schema={"type": "object"}))).text == "{}"


async def test_a_model_that_always_thinks_meets_a_wish_for_thoughts() -> None:
    runtime = Scripted(["hi"], capabilities={"chat", "thinks"})
    assert (await Client(runtime).ask(replace(HELLO, think="high"))).text == "hi"


async def test_thoughts_that_are_switched_off_need_nothing() -> None:
    assert required_capabilities(replace(HELLO, think=False)) == ["chat"]


async def test_texts_are_embedded_only_where_the_model_can() -> None:
    client = Client(Scripted([], embedder=lambda text: [float(len(text))]))
    assert await client.embed(["a", "bcd"]) == [[1.0], [3.0]]
    with pytest.raises(Unsupported, match="embed"):
        await Client(Scripted([])).embed(["a"])


@pytest.mark.parametrize(("given", "parallel", "most"), [(3, 8, 3), (None, 2, 2)])
async def test_no_more_are_in_flight_than_the_limit_or_the_model_says(
    given: int | None, parallel: int, most: int
) -> None:
    runtime = Scripted(lambda request: "hi", parallel=parallel, delay=0.001)
    client = Client(runtime, concurrency=given)
    await asyncio.gather(*(client.ask(request) for request in numbered(20)))
    assert runtime.peak == most


PASSING = [ConnectionFailed("gone"), ServerBusy("later"), ServerFailed("x", retry=True), BadReply("x", retry=True)]
LASTING = [RequestRefused("no"), AccessDenied("no key"), ServerFailed("x"), BadReply("x"), ValueError("a bug")]


@pytest.mark.parametrize("failure", PASSING, ids=repr)
async def test_what_can_pass_is_tried_again(failure: Exception) -> None:
    runtime = Scripted([failure, failure, "hi"])
    client = Client(runtime)
    assert (await client.ask(HELLO)).text == "hi"
    assert (client.statistics.requests, client.statistics.retries, len(runtime.requests)) == (1, 2, 3)


@pytest.mark.parametrize("failure", LASTING, ids=repr)
async def test_what_cannot_pass_is_not_tried_again(failure: Exception) -> None:
    runtime = Scripted([failure, "hi"])
    with pytest.raises(type(failure)):
        await Client(runtime).ask(HELLO)
    assert len(runtime.requests) == 1


async def test_trying_again_ends_with_the_last_failure() -> None:
    runtime = Scripted([ConnectionFailed("1"), ServerBusy("2"), ServerBusy("3"), ConnectionFailed("4"), "hi"])
    with pytest.raises(ConnectionFailed, match="4"):
        await Client(runtime, attempts=4).ask(HELLO)
    assert len(runtime.requests) == 4


async def test_by_default_a_request_is_sent_up_to_four_times() -> None:
    runtime = Scripted([ConnectionFailed(str(number)) for number in range(9)])
    with stamina.set_testing(True, attempts=9, cap=True), pytest.raises(ConnectionFailed, match="3"):
        await Client(runtime).ask(HELLO)
    assert len(runtime.requests) == 4


async def test_a_failure_that_stops_being_passing_ends_it() -> None:
    runtime = Scripted([ServerBusy("1"), AccessDenied("no key"), "hi"])
    with pytest.raises(AccessDenied):
        await Client(runtime).ask(HELLO)


async def test_one_attempt_means_one() -> None:
    runtime = Scripted([ServerBusy("later"), "hi"])
    with stamina.set_testing(False), pytest.raises(ServerBusy):
        await Client(runtime, attempts=1).ask(HELLO)
    assert len(runtime.requests) == 1


async def test_the_time_that_a_server_names_is_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("stamina._core._smart_sleep", sleep)
    runtime = Scripted([ServerBusy("later", retry_after=7), ServerBusy("now", retry_after=0.0), "hi"])
    with stamina.set_testing(False):
        assert (await Client(runtime).ask(HELLO)).text == "hi"
    assert waited == [7, 0]


async def test_a_server_that_wants_more_time_than_there_is_is_not_waited_for() -> None:
    runtime = Scripted([ServerBusy("tomorrow", retry_after=86_400), "hi"])
    with pytest.raises(ServerBusy, match="tomorrow"):
        await Client(runtime, deadline=60).ask(HELLO)


async def test_trying_again_prints_nothing(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.CRITICAL, "promptkit"):
        await Client(Scripted([ServerBusy("later"), "hi"])).ask(HELLO)
    assert capfd.readouterr() == ("", "")


async def test_the_deadline_ends_a_request_for_real() -> None:
    gate = Gate()
    with pytest.raises(DeadlinePassed, match=r"scripted did not answer within 0\.01 seconds"):
        await Client(Scripted(gate), deadline=0.01).ask(HELLO)
    assert gate.cancelled == 1


async def test_the_deadline_covers_all_attempts() -> None:
    runtime = Scripted(lambda request: ConnectionFailed("gone"))
    with stamina.set_testing(False), pytest.raises(DeadlinePassed):
        await Client(runtime, deadline=0.02, attempts=1000).ask(HELLO)


async def test_waiting_for_ones_turn_does_not_count_towards_the_deadline() -> None:
    runtime = Scripted(lambda request: "hi", delay=0.05)
    client = Client(runtime, concurrency=1, deadline=0.2)
    replies = await asyncio.gather(*(client.ask(request) for request in numbered(8)))
    assert len(replies) == 8


async def test_describing_the_model_and_the_request_share_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 599.99])
    monkeypatch.setattr("promptkit.runtimes.client.monotonic", lambda: next(clock))

    with pytest.raises(DeadlinePassed, match="within 600 seconds"):
        await Client(Scripted(Gate())).ask(HELLO)


@pytest.mark.parametrize(("firm", "answers"), [(False, True), (True, False)])
async def test_another_deadline_counts_unless_its_own_is_firm(firm: bool, answers: bool) -> None:
    client = Client(Scripted(lambda request: "hi", delay=0.05), deadline=0.01, firm=firm)
    await client.model()
    try:
        assert (await client.timed(10).ask(HELLO)).text == "hi"
    except DeadlinePassed:
        assert not answers
    else:
        assert answers


async def test_a_runtimes_own_timeout_is_not_taken_for_the_deadline() -> None:
    with pytest.raises(TimeoutError):
        await Client(Scripted([TimeoutError()])).ask(HELLO)


async def test_a_model_that_is_never_described_meets_the_deadline() -> None:
    class Mute(Scripted):
        async def model(self) -> Model:
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(DeadlinePassed):
        await Client(Mute([]), deadline=0.01).model()


async def test_a_known_reply_is_not_asked_for_again() -> None:
    memory, runtime = Memory(), Scripted(["one"])
    first = await Client(runtime, store=memory).ask(HELLO)
    client = Client(runtime, store=memory)
    again = await client.ask(HELLO)
    assert again == replace(first, cached=True)
    assert (client.statistics.requests, client.statistics.cached) == (1, 1)


async def test_another_sample_or_another_model_is_asked_for() -> None:
    memory = Memory()
    runtime = Scripted(["one", "two", "three"])
    await Client(runtime, store=memory).ask(HELLO)
    assert (await Client(runtime, store=memory).ask(replace(HELLO, sample="0/1"))).text == "two"
    other = Scripted(["three"], digest="changed")
    assert (await Client(other, store=memory).ask(HELLO)).text == "three"


async def test_without_a_store_each_request_is_sent() -> None:
    runtime = Scripted(["one", "two"])
    client = Client(runtime)
    assert [(await client.ask(HELLO)).text, (await client.ask(HELLO)).text] == ["one", "two"]


@pytest.mark.parametrize("kept", ["{", "[]", "{}", '{"text": "a", "colour": 1}', "null"])
async def test_a_kept_reply_that_cannot_be_read_is_asked_for_again(kept: str) -> None:
    memory = Memory()
    await Client(Scripted(["old"]), store=memory).ask(HELLO)
    memory.kept = dict.fromkeys(memory.kept, kept)
    assert (await Client(Scripted(["new"]), store=memory).ask(HELLO)).text == "new"


async def test_a_failure_is_not_kept() -> None:
    memory = Memory()
    with pytest.raises(RequestRefused):
        await Client(Scripted([RequestRefused("no")]), store=memory).ask(HELLO)
    assert (await Client(Scripted(["yes"]), store=memory).ask(HELLO)).text == "yes"


async def test_a_reply_that_cannot_be_kept_is_an_error() -> None:
    class Full(Memory):
        async def keep(self, key: str, value: str) -> None:
            raise StoreFailed("the disk is full")

    with pytest.raises(StoreFailed, match="full"):
        await Client(Scripted(["hi"]), store=Full()).ask(HELLO)


async def test_the_same_request_at_the_same_time_is_sent_once() -> None:
    runtime = Scripted(Gate())
    client = Client(runtime, store=Memory())
    waiting = [asyncio.create_task(client.ask(HELLO)) for _ in range(5)]
    await settle(lambda: len(runtime.requests) == 1)
    gate_of(runtime).open.set()
    replies = await asyncio.gather(*waiting)
    assert len(runtime.requests) == 1
    assert sorted(reply.cached for reply in replies) == [False, True, True, True, True]
    assert (client.statistics.requests, client.statistics.cached) == (5, 4)


async def test_all_who_wait_for_one_request_get_its_failure() -> None:
    runtime = Scripted(lambda request: RequestRefused("no"), delay=0.0)
    client = Client(runtime, store=Memory())
    results = await asyncio.gather(*(client.ask(HELLO) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [RequestRefused] * 3


async def test_one_who_leaves_does_not_disturb_the_others() -> None:
    runtime = Scripted(Gate())
    client = Client(runtime, store=Memory())
    first, second = asyncio.create_task(client.ask(HELLO)), asyncio.create_task(client.ask(HELLO))
    await settle(lambda: bool(runtime.requests))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate_of(runtime).open.set()
    assert (await second).text == "yes"
    assert gate_of(runtime).cancelled == 0


async def test_a_request_ends_when_the_last_who_waits_has_left_and_can_be_asked_anew() -> None:
    runtime = Scripted(Gate())
    client = Client(runtime, store=Memory())
    waiting = [asyncio.create_task(client.ask(HELLO)) for _ in range(2)]
    await settle(lambda: bool(runtime.requests))
    for task in waiting:
        task.cancel()
    fresh = asyncio.create_task(client.ask(HELLO))
    await asyncio.gather(*waiting, return_exceptions=True)
    gate_of(runtime).open.set()
    assert (await fresh).text == "yes"
    assert gate_of(runtime).cancelled <= 1


async def test_a_request_that_fails_while_it_is_stopped_is_nobodys_error() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))

    async def fails(request: Request) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            raise RequestRefused("no")

    runtime = Scripted(fails)
    task = asyncio.create_task(Client(runtime, store=Memory()).ask(HELLO))
    await settle(lambda: bool(runtime.requests))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del task
    gc.collect()
    assert reported == []


async def test_who_joins_late_hears_the_thoughts_apart_from_the_answer() -> None:
    first: list[str] = []
    late: list[str] = []
    reply = Reply(text="It is blue", thoughts="the sky")
    client = Client(Scripted(lambda request: reply, delay=0.05), store=Memory())
    leading = asyncio.create_task(client.ask(HELLO, first.append))
    await settle(lambda: "is" in "".join(first))
    await asyncio.gather(leading, client.ask(HELLO, late.append))
    for heard in (first, late):
        thoughts = [piece for piece in heard if isinstance(piece, Thought)]
        assert ("".join(thoughts), "".join(heard[len(thoughts) :])) == ("the sky", "It is blue")


async def test_after_a_retry_only_new_thoughts_and_text_are_heard() -> None:
    heard: list[str] = []

    class Breaking(Scripted):
        async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
            assert on_text is not None
            self.requests.append(request)
            if len(self.requests) == 1:
                on_text(Thought("the s"))
                on_text("It")
                raise ConnectionFailed("broke off")
            return await super().answer(request, on_text)

    await Client(Breaking([Reply(text="It is", thoughts="the sky")])).ask(HELLO, heard.append)
    assert "".join(piece for piece in heard if isinstance(piece, Thought)) == "the sky"
    assert "".join(piece for piece in heard if not isinstance(piece, Thought)) == "It is"


async def test_cancelling_stops_the_runtime_without_a_store_too() -> None:
    gate = Gate()
    runtime = Scripted(gate)
    task = asyncio.create_task(Client(runtime).ask(HELLO))
    await settle(lambda: bool(runtime.requests))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gate.cancelled == 1


async def test_a_cancelled_request_gives_its_place_to_the_next() -> None:
    runtime = Scripted(Gate())
    client = Client(runtime, concurrency=1)
    first = asyncio.create_task(client.ask(HELLO))
    await settle(lambda: bool(runtime.requests))
    second = asyncio.create_task(client.ask(replace(HELLO, sample="1")))
    first.cancel()
    gate_of(runtime).open.set()
    assert (await second).text == "yes"


async def test_a_request_is_in_flight_until_its_reply_is_kept() -> None:
    class Slow(Memory):
        def __init__(self) -> None:
            super().__init__()
            self.written = asyncio.Event()

        async def keep(self, key: str, value: str) -> None:
            await self.written.wait()
            await super().keep(key, value)

    store = Slow()
    runtime = Scripted(lambda request: "yes")
    client = Client(runtime, concurrency=2, store=store)
    asking = [asyncio.create_task(client.ask(request)) for request in numbered(3)]
    await settle(lambda: len(runtime.requests) == 2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(runtime.requests) == 2
    store.written.set()
    await asyncio.gather(*asking)
    assert len(store.kept) == 3


@pytest.mark.parametrize("store", [None, Memory()])
async def test_text_is_told_as_it_arrives_and_at_once_where_it_is_known(store: Memory | None) -> None:
    client = Client(Scripted(["one two three", "one two three"]), store=store)
    for _ in range(2):
        told: list[str] = []
        reply = await client.ask(HELLO, told.append)
        assert "".join(told) == reply.text == "one two three"


async def test_one_who_joins_late_hears_what_was_said_before() -> None:
    client = Client(Scripted(["one two three"], delay=0.03), store=Memory())
    first: list[str] = []
    late: list[str] = []
    silent: list[str] = []
    leading = asyncio.create_task(client.ask(HELLO, first.append))
    await settle(lambda: bool(first))
    await asyncio.gather(leading, client.ask(HELLO, late.append), client.ask(HELLO))
    assert "".join(first) == "".join(late) == "one two three"
    assert silent == []


async def test_one_who_listens_to_a_request_that_does_not_stream_hears_it_at_its_end() -> None:
    client = Client(Scripted(["one two"]), store=Memory())
    told: list[str] = []
    await asyncio.gather(client.ask(HELLO), client.ask(HELLO, told.append))
    assert told == ["one two"]


async def test_text_told_by_an_attempt_that_broke_off_is_not_told_twice() -> None:
    class Breaking(Scripted):
        async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
            if not self.requests:
                self.requests.append(request)
                assert on_text is not None
                on_text("one t")
                raise ConnectionFailed("broke off")
            return await super().answer(request, on_text)

    told: list[str] = []
    await Client(Breaking(["one two three"])).ask(HELLO, told.append)
    assert "".join(told) == "one two three"


async def test_tokens_and_template_pass_through_and_close_reaches_the_runtime() -> None:
    class Closing(Scripted):
        closed = 0

        async def close(self) -> None:
            self.closed += 1

    runtime = Closing([])
    client = Client(runtime)
    assert await client.tokenize("a b") == (b"a", b" b")
    assert await client.template(HELLO.messages, "Yes") == "<|user|>\nhello\n<|assistant|>\nYes"
    await client.close()
    assert runtime.closed == 1


def test_every_failure_of_a_runtime_says_whether_it_can_pass() -> None:
    assert {kind.__name__ for kind in RuntimeFailure.__subclasses__() if kind.retry} == {
        "ConnectionFailed",
        "ServerBusy",
    }


def test_the_fake_is_a_runtime() -> None:
    runtime: Runtime = Scripted([])
    assert runtime


def gate_of(runtime: Scripted) -> Gate:
    assert isinstance(runtime.script, Gate)
    return runtime.script


async def settle(ready: Callable[[], bool]) -> None:
    """Let the others run until it is so."""
    async with asyncio.timeout(10):
        while not ready():
            await asyncio.sleep(0)


async def test_a_request_for_the_vector_of_a_server_that_embeds_is_its_texts_joined() -> None:
    embedded: list[str] = []

    def embedder(text: str) -> list[float]:
        embedded.append(text)
        return [0.5, 0.1]

    memory = Memory()
    client = Client(Scripted([], embedder=embedder), store=memory)
    request = Request(
        messages=(Message("system", "Sort."), Message("user", "hi")), begun="Mood:", hidden_state=HiddenState()
    )
    reply = await client.ask(request)
    assert embedded == ["Sort.\n\nhi\n\nMood:"]
    assert reply.vector == pytest.approx((0.5, 0.1))
    again = await client.ask(request)
    assert (again.vector, again.cached) == (reply.vector, True)
    assert len(embedded) == 1
    with pytest.raises(Unsupported, match="cannot give the vectors of its layers"):
        await client.ask(replace(request, hidden_state=HiddenState(2)))
