"""Grammars and scores on the real embedded model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from promptkit.answers.build import build_answer_type
from promptkit.answers.decide import constrain, score_answer
from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.embedded import Embedded
from tests.answers.gbnf import Gbnf
from tests.answers.kinds import IDS, KINDS
from tests.embedded import embedded, model_file

__all__ = ["embedded", "model_file"]

REQUEST = Request(
    messages=(Message("user", "Classify the sentiment of: What a wonderful film!"),), begun="Sentiment:", max_tokens=24
)


@pytest.mark.parametrize("spec", [spec for spec, _ in KINDS], ids=IDS)
async def test_the_model_takes_each_grammar_and_keeps_to_it(embedded: Embedded, spec: Any) -> None:
    answer, asker = build_answer_type(spec), Client(embedded)
    request, notice = constrain(REQUEST, answer, (await asker.model()).capabilities, " ")
    assert notice is None
    reply = await asker.ask(request)
    assert reply.text.startswith(" ") or request.grammar is None
    if reply.finish == "stop":
        answer.parse(reply.text)
        assert request.grammar is None or Gbnf.read(request.grammar).admits(reply.text)


async def test_the_score_of_a_label_is_the_sum_over_its_own_tokens(embedded: Embedded) -> None:
    asker = Client(embedded)
    scores = await score_answer(asker, REQUEST, build_answer_type({"label": ["positive", "negative"]}))
    assert (scores.value, scores.outside, scores.requests) == ("positive", (), 1)
    long = await score_answer(
        asker, REQUEST, build_answer_type({"label": ["very positive and kind", "very positive and kinder"]})
    )
    # The same first tokens by hand, one after the other.
    total, text = 0.0, ""
    for piece in await embedded.tokenize("Sentiment: very positive and kind") or ():
        if piece in (b"Sent", b"iment", b":"):
            continue
        asked = replace(REQUEST, begun=f"Sentiment:{text}", max_tokens=1, alternatives=200)
        token = (await asker.ask(asked)).tokens[0]
        shown = {shown_token.piece: shown_token.logprob for shown_token in token.alternatives}
        total += shown.get(piece, min(shown.values()))
        text += piece.decode()
    assert set(long.logprobs) == {"very positive and kind", "very positive and kinder"}
    assert max(long.logprobs.values()) == pytest.approx(total, abs=0.5)
