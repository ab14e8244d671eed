"""Whatever a server sends becomes a reply that is in order, or one of our errors; and no text of ours shows the key."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from promptkit.errors import PromptkitError
from promptkit.runtimes.base import Message, Reply, Request, Thought
from promptkit.runtimes.serialization import reply_from, reply_record
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.runtimes.servers.openai import OpenAI
from promptkit.runtimes.servers.probes import NO_DIALECT
from tests.runtimes.servers.fault_server import answers, faulty
from tests.runtimes.servers.hostile_replies import CASES, KEY, LIMIT, Becomes, Case, is_short

ASKED = Request(messages=(Message("user", "good or bad?"),), max_tokens=LIMIT)


async def outcome(case: Case, url: str, heard: list[str]) -> Reply | PromptkitError:
    """Return what the adapter of the case makes of what the server sends."""
    runtime: OpenAI | Ollama
    if case.protocol == "openai":
        runtime = OpenAI("mini", base_url=url)
        send = runtime._send(ASKED, NO_DIALECT, heard.append)
    else:
        runtime = Ollama("tiny", host=url.removesuffix("/v1"))
        send = runtime._collect({"messages": []}, ASKED, heard.append)
    try:
        return await send
    except PromptkitError as error:
        return error
    finally:
        assert KEY not in f"{vars(runtime)} {vars(runtime._server)} {vars(runtime._server.redactor)}"
        await runtime.close()


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.attack(case.kind), id=str(case)[:100]) for case in CASES]
)
async def test_a_hostile_answer(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OLLAMA_API_KEY"):
        monkeypatch.setenv(name, KEY)
    heard: list[str] = []

    async with faulty(answers(case.sent, status=f"{case.status} X")) as server:
        came = await outcome(case, server.url, heard)

    assert KEY in server.heads[0]
    if isinstance(came, Reply):
        assert isinstance(case.outcome, Becomes), came
        assert case.outcome.text in (None, came.text)
        shown = "".join(piece for piece in heard if not isinstance(piece, Thought))
        assert (case.outcome.finish, shown) == (came.finish, came.text)
        assert case.outcome.thoughts in (None, came.thoughts)
        assert case.outcome.counts in (None, (came.tokens_in, came.tokens_out))
        assert reply_from(json.loads(json.dumps(reply_record(came)))) == came
        assert KEY not in repr(replace(came, tokens=())) + b"".join(each.piece for each in came.tokens).decode()
        assert KEY not in repr(came)
    else:
        assert type(came) is case.outcome, repr(came)
        assert is_short(came.message) and is_short(came.hint or "") and came.message.isprintable()
        assert KEY not in f"{came!r} {came}" and KEY[3:12] not in f"{came!r} {came}"


def test_the_table_has_every_protocol_and_kind() -> None:
    assert len(CASES) > 217
    assert len({str(case) for case in CASES}) == len(CASES)
