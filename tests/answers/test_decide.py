"""Deciding: under a grammar or schema, and by the log-probability of each label."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pytest

from promptkit.answers.base import AnswerType
from promptkit.answers.boolean import Boolean
from promptkit.answers.calibration import Calibration
from promptkit.answers.choice import Choice
from promptkit.answers.decide import Scores, lead_after, score_answer, score_needs
from promptkit.answers.labels import Label
from promptkit.answers.number import Number
from promptkit.errors import InputError, Unsupported
from promptkit.runtimes.base import Alternative, Capability, Message, Reply, Request, Token
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import Scripted

REQUEST = Request(messages=(Message("user", "What is it?"),), begun="Mood:", stop=("\n",), temperature=0.7)
CAN: frozenset[Capability] = frozenset({"chat", "continue", "complete", "logprobs", "tokenize"})
Shown = Mapping[str, float]


def model(places: Mapping[str, Shown], can: Iterable[Capability] = CAN, pieces: int = 0) -> Scripted:
    """A model that shows, after each begun turn, the probabilities of the next pieces.

    With `pieces` its tokens are that many characters each.
    """

    def answer(request: Request) -> Reply:
        shown = places[request.begun or request.prompt or ""]
        found = tuple(Alternative(piece.encode(), math.log(share)) for piece, share in shown.items())
        token = Token(found[0].piece, found[0].logprob, found)
        return Reply(text=found[0].piece.decode(), tokens=(token,), tokens_in=10, tokens_out=1, seconds=0.5)

    def cut(text: str) -> list[bytes]:
        cue, label = text[: len("Mood:")], text[len("Mood:") :]
        return [cue.encode(), *(label[at : at + pieces].encode() for at in range(0, len(label), pieces))]

    return Scripted(answer, capabilities=can, tokenizer=cut) if pieces else Scripted(answer, capabilities=can)


def shares(scores: Scores) -> dict[str, float]:
    return {label: round(math.exp(value), 6) for label, value in scores.logprobs.items()}


async def test_one_token_labels_cost_one_request_of_one_token() -> None:
    runtime = model({"Mood:": {" good": 0.2, " bad": 0.3, " so": 0.1}})
    scores = await score_answer(Client(runtime), REQUEST, Label(["good", "bad"]))
    assert (scores.value, scores.requests, scores.tokens_in, scores.tokens_out) == ("bad", 1, 10, 1)
    assert shares(scores) == {"good": 0.2, "bad": 0.3}
    (sent,) = runtime.requests
    assert (sent.max_tokens, sent.temperature, sent.stop, sent.grammar) == (1, 0.0, (), None)
    assert sent.alternatives >= 2


async def test_labels_that_share_their_first_token_are_told_apart_at_the_next() -> None:
    places = {
        "Mood:": {" service": 0.6, " price": 0.35},
        "Mood: service": {" reliability": 0.5, " quality": 0.4},
    }
    runtime = model(places)
    scores = await score_answer(Client(runtime), REQUEST, Label(["service reliability", "service quality", "price"]))
    assert scores.value == "price"  # a greedy walk would have gone the way of ` service`
    assert shares(scores) == {"service reliability": 0.3, "service quality": 0.24, "price": 0.35}
    assert scores.requests == 2


async def test_labels_of_four_tokens_are_walked_to_where_they_differ() -> None:
    places = {
        "Mood:": {" a": 0.9, " b": 0.1},
        "Mood: a": {" b": 0.5},
        "Mood: a b": {" c": 0.5, " x": 0.5},
        "Mood: a b c": {" d": 0.25, " e": 0.75},
    }
    scores = await score_answer(Client(model(places)), REQUEST, Label(["a b c d", "a b c e", "b b b b"]))
    assert shares(scores) == {"a b c d": 0.05625, "a b c e": 0.16875, "b b b b": 0.1}
    assert (scores.value, scores.requests, scores.outside) == ("a b c e", 4, ())


async def test_a_label_that_ends_where_another_goes_on_gets_what_the_other_leaves() -> None:
    places = {"Mood:": {" good": 0.8, " bad": 0.2}, "Mood: good": {" enough": 0.9, "\n": 0.1}}
    scores = await score_answer(Client(model(places)), REQUEST, Label(["good", "good enough", "bad"]))
    assert shares(scores) == {"good": 0.08, "good enough": 0.72, "bad": 0.2}


async def test_a_label_that_always_goes_on_as_another_counts_as_a_trillionth() -> None:
    places = {"Mood:": {" good": 0.8, " bad": 0.2}, "Mood: good": {" enough": 1.0}}
    scores = await score_answer(Client(model(places)), REQUEST, Label(["good", "good enough", "bad"]))
    assert scores.logprobs["good"] == pytest.approx(math.log(0.8e-12))


async def test_a_label_outside_the_alternatives_counts_as_the_last_of_them_and_is_named() -> None:
    scores = await score_answer(Client(model({"Mood:": {" good": 0.5, " so": 0.01}})), REQUEST, Label(["good", "odd"]))
    assert shares(scores) == {"good": 0.5, "odd": 0.01}
    assert scores.outside == ("odd",)


async def test_labels_outside_that_share_a_token_are_still_told_apart() -> None:
    places = {"Mood:": {" good": 0.5, " so": 0.01}, "Mood: very": {" odd": 0.9, " bad": 0.1}}
    scores = await score_answer(Client(model(places)), REQUEST, Label(["good", "very odd", "very bad"]))
    assert shares(scores) == {"good": 0.5, "very odd": 0.009, "very bad": 0.001}
    assert scores.outside == ("very odd", "very bad")


async def test_without_a_tokenizer_the_pieces_shown_lead_the_way() -> None:
    places = {
        "Mood:": {" pos": 0.5, " p": 0.2, " neg": 0.3},
        "Mood: pos": {"itive": 0.9, "ture": 0.1},
    }
    runtime = model(places, can={"chat", "continue", "logprobs"})
    scores = await score_answer(Client(runtime), REQUEST, Label(["positive", "posture", "negative", "zzz"]))
    assert shares(scores) == {"positive": 0.45, "posture": 0.05, "negative": 0.3, "zzz": 0.2}
    assert scores.outside == ("zzz",)


async def test_the_models_own_tokens_are_followed_where_others_are_shown_too() -> None:
    places = {"Mood:": {" positive": 0.1, " p": 0.7, " n": 0.2}, "Mood: p": {"o": 0.5, "os": 0.3, "ri": 0.2}}
    scores = await score_answer(Client(model(places, pieces=2)), REQUEST, Label(["positive", "pride", "none"]))
    assert shares(scores) == {"positive": 0.21, "pride": 0.14, "none": 0.2}


async def test_labels_that_part_inside_a_character_count_as_outside() -> None:
    def cut(text: str) -> list[bytes]:
        cue, label = text[:5].encode(), text[5:].encode()
        return [cue, *([label[:3], label[3:]] if label else [])]

    def answer(request: Request) -> Reply:
        token = Token(" 漢".encode()[:3], math.log(0.5), (Alternative(b" x", math.log(0.1)),))
        return Reply(text="", tokens=(token,))

    scores = await score_answer(
        Client(Scripted(answer, capabilities=CAN, tokenizer=cut)), REQUEST, Label(["漢", "漣", "xy"])
    )
    assert shares(scores)["漢"] == shares(scores)["漣"] == 0.25
    assert set(scores.outside) >= {"漢", "漣"}


async def test_letters_and_booleans_are_scored_and_come_back_as_values() -> None:
    letters = await score_answer(Client(model({"Mood:": {" A": 0.1, " B": 0.8}})), REQUEST, Choice(["dog", "cat"]))
    assert letters.value == "cat"
    assert set(letters.logprobs) == {"A", "B"}
    truth = await score_answer(Client(model({"Mood:": {" true": 0.1, " false": 0.8}})), REQUEST, Boolean())
    assert truth.value is False


async def test_a_calibration_moves_the_choice_and_not_the_log_probabilities() -> None:
    runtime = model({"Mood:": {" good": 0.5, " bad": 0.4}})
    frozen = {"method": "batch", "offsets": {"good": -1.0, "bad": 1.0}}
    scores = await score_answer(Client(runtime), REQUEST, Label(["good", "bad"]), calibrate=frozen)
    assert scores.value == "bad"
    assert shares(scores) == {"good": 0.5, "bad": 0.4}
    same = await score_answer(
        Client(runtime), REQUEST, Label(["good", "bad"]), calibrate=Calibration("batch", {"bad": 0.1})
    )
    assert same.value == "good"


async def test_a_calibration_without_offsets_is_refused_before_anything_is_asked() -> None:
    runtime = model({})
    with pytest.raises(InputError, match="no offsets"):
        await score_answer(Client(runtime), REQUEST, Label(["a", "b"]), calibrate={"method": "batch"})
    assert runtime.requests == []


async def test_one_label_alone_needs_no_request() -> None:
    scores = await score_answer(Client(model({})), REQUEST, Label(["only"]))
    assert (scores.value, scores.requests) == ("only", 0)


async def test_a_raw_prompt_is_continued_as_text() -> None:
    runtime = model({"Review: fine\nMood:": {" good": 0.6, " bad": 0.4}})
    request = Request(prompt="Review: fine\nMood:")
    assert (await score_answer(Client(runtime), request, Label(["good", "bad"]))).value == "good"


async def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(Unsupported, match="closed set"):
        await score_answer(Client(model({})), REQUEST, Number())
    for missing in ("logprobs", "continue"):
        with pytest.raises(Unsupported, match=missing):
            await score_answer(Client(model({}, can=CAN - {missing})), REQUEST, Label(["a", "b"]))
    silent = Scripted(lambda request: Reply(text="a"), capabilities=CAN)
    with pytest.raises(Unsupported, match="gave no log-probabilities"):
        await score_answer(Client(silent), REQUEST, Label(["a", "b"]))


async def test_a_label_that_is_shown_wins_over_one_that_is_not() -> None:
    scores = await score_answer(Client(model({"Mood:": {" no": 0.9}})), REQUEST, Label(["yes", "no"]))
    assert (scores.value, scores.outside) == ("no", ("yes",))


async def test_where_the_model_shows_none_of_the_labels_there_is_no_winner() -> None:
    scores = await score_answer(Client(model({"Mood:": {" Sure": 0.9, " so": 0.1}})), REQUEST, Label(["yes", "no"]))
    assert (scores.value, scores.outside) == (None, ("yes", "no"))


async def test_a_model_that_continues_no_turn_scores_labels_that_begin_differently() -> None:
    chats: frozenset[Capability] = frozenset({"chat", "logprobs"})
    request = Request(messages=REQUEST.messages)
    runtime = model({"": {"positive": 0.6, "neg": 0.3, "p": 0.1}}, can=chats)
    scores = await score_answer(Client(runtime), request, Label(["positive", "negative"]))
    assert shares(scores) == {"positive": 0.6, "negative": 0.3}
    assert scores.requests == 1
    with pytest.raises(Unsupported, match="continue"):
        await score_answer(Client(runtime), request, Label(["good", "great"]))


@pytest.mark.parametrize(
    ("answer", "needs"),
    [
        (Label(["positive", "negative"]), {"logprobs"}),
        (Label(["good", "great"]), {"logprobs", "continue"}),
        (Boolean(), {"logprobs"}),
        (Choice(["red", "rose"]), {"logprobs"}),
        (None, {"logprobs", "continue"}),
    ],
)
def test_labels_that_begin_alike_need_a_model_that_continues(answer: AnswerType | None, needs: set[str]) -> None:
    assert score_needs(answer) == needs


def test_an_answer_stands_off_from_the_words_before_it() -> None:
    assert [lead_after(begun) for begun in ("Mood:", "Mood: ", "Mood:\n", "")] == [" ", "", "", ""]
