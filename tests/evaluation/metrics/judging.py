"""Models that judge, for tests: by words, by probabilities, babbling, swayed by order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log

from promptkit.runtimes.base import Alternative, Reply, Request, Token
from promptkit.runtimes.scripted import Scripted
from tests.techniques.steps import flat, without

Answers = Callable[[str], str]


def words_only(answer: Answers) -> Scripted:
    """Return a judge that answers a request's text in words, without log-probabilities."""
    return Scripted(lambda request: answer(flat(request)), capabilities=without("logprobs"), reference="judge")


def unsure(shares: Callable[[str], Mapping[str, float]]) -> Scripted:
    """Return a judge that gives each first word of a level its share."""

    def script(request: Request) -> Reply:
        shown = tuple(Alternative(f" {word}".encode(), log(share)) for word, share in shares(flat(request)).items())
        return Reply(text="", tokens=(Token(shown[0].piece, shown[0].logprob, shown),), tokens_in=9, tokens_out=1)

    return Scripted(script, reference="judge")


def shown_in(request: Request) -> tuple[str, str]:
    """Return the two answers that a request shows, the first and the second."""
    text = flat(request)
    first, _, rest = text.partition("The first answer:\n")[2].partition("\n\nThe second answer:\n")
    return first, rest.partition("\n</INPUT>")[0]


def of_pairs(first_is_better: Callable[[str, str], bool]) -> Scripted:
    """Return a judge of pairs, by what stands in the lines of both answers."""

    def script(request: Request) -> str:
        return " first" if first_is_better(*shown_in(request)) else " second"

    return Scripted(script, reference="judge")
