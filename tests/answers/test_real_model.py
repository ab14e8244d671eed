"""Grammars and scores on the real embedded model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from promptkit.answers.build import build_answer_type
from promptkit.answers.constraints.forms import reply_form
from promptkit.answers.constraints.schema_keywords import FORMATS
from promptkit.answers.decide import score_answer
from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.in_process.embedded import Embedded
from tests.answers.constraints.gbnf import Gbnf
from tests.answers.kinds import IDS, KINDS
from tests.embedded import embedded, model_file

__all__ = ["embedded", "model_file"]

REQUEST = Request(
    messages=(Message("user", "Classify the sentiment of: What a wonderful film!"),), begun="Sentiment:", max_tokens=24
)


@pytest.mark.parametrize("spec", [spec for spec, _ in KINDS], ids=IDS)
async def test_the_model_takes_each_grammar_and_keeps_to_it(embedded: Embedded, spec: Any) -> None:
    answer, client = build_answer_type(spec), Client(embedded)
    form = reply_form(answer, (await client.model()).capabilities)
    request, notice = form.constrain(REQUEST, " "), form.notice
    assert notice is None
    reply = await client.ask(request)
    assert reply.text.startswith(" ") or request.grammar is None
    if reply.finish == "stop":
        value = answer.parse(reply.text)
        if (request.grammar or "").startswith("%llguidance"):
            assert reply.text == f" {answer.write(value)}"
        else:
            assert request.grammar is None or Gbnf.read(request.grammar).admits(reply.text)


GUIDED: list[dict[str, Any]] = [
    {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{2}$"},
    {"type": "string", "pattern": r"^(\d\w|[^a-z]\/)\.[\w.+-]{1,3}$"},
    {"type": "string", "pattern": "[0-9]{2}", "maxLength": 6},
    *({"type": "string", "format": name} for name in FORMATS if name not in ("email", "hostname")),
    {"type": "string", "format": "email", "maxLength": 12},
    {"type": "string", "format": "hostname", "maxLength": 12},
    {"properties": {"day": {"format": "date"}, "why": {"maxLength": 4}}, "required": ["day", "why"]},
    {"oneOf": [{"type": "null"}, {"type": "integer", "minimum": 1, "maximum": 9}]},
    {"allOf": [{"type": "integer", "minimum": 2**53 - 3}, {"maximum": 2**53}]},
    {"type": "number", "minimum": 1e-9, "maximum": 1e-9},
]
"""Schemas that a 135M model would not keep to by itself."""


@pytest.mark.parametrize("schema", GUIDED, ids=[json.dumps(schema) for schema in GUIDED])
async def test_the_model_keeps_to_each_keyword_that_a_schema_may_have(
    embedded: Embedded, schema: dict[str, Any]
) -> None:
    answer, client = build_answer_type({"json": schema}), Client(embedded)
    form = reply_form(answer, (await client.model()).capabilities)
    request = form.constrain(replace(REQUEST, max_tokens=60), " ")
    reply = await client.ask(request)
    assert reply.text[1:2] in '"{123456789n0'
    if reply.finish == "stop":
        answer.parse(reply.text)
    else:
        assert "minimum" in schema or "time" in schema["format"]  # the decimals of a number may go on


async def test_the_score_of_a_label_is_the_sum_over_its_own_tokens(embedded: Embedded) -> None:
    client = Client(embedded)
    scores = await score_answer(client, REQUEST, build_answer_type({"label": ["positive", "negative"]}))
    assert (scores.value, scores.outside, scores.requests) == ("positive", (), 1)
    long = await score_answer(
        client, REQUEST, build_answer_type({"label": ["very positive and kind", "very positive and kinder"]})
    )
    # The same first tokens by hand, one after the other.
    total, text = 0.0, ""
    for piece in await embedded.tokenize("Sentiment: very positive and kind") or ():
        if piece in (b"Sent", b"iment", b":"):
            continue
        asked = replace(REQUEST, begun=f"Sentiment:{text}", max_tokens=1, alternatives=200)
        token = (await client.ask(asked)).tokens[0]
        shown = {shown_token.piece: shown_token.logprob for shown_token in token.alternatives}
        total += shown.get(piece, min(shown.values()))
        text += piece.decode()
    assert set(long.logprobs) == {"very positive and kind", "very positive and kinder"}
    assert max(long.logprobs.values()) == pytest.approx(total, abs=0.5)
