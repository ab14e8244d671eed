"""A model that scores labels with a bias of its own, so that only calibrated scores tell rows apart."""

from __future__ import annotations

from math import exp, log
from random import Random

from promptkit.runtimes.base import Alternative, Reply, Request, Token
from promptkit.runtimes.scripted import Script, Scripted
from promptkit.tuning.search_space.candidate import Candidate, Choice
from tests.tuning.tunings import row_of, truth

BIAS, SIGNAL, NOISE = 2.0, 1.0, 1.5
REFERENCE = "embedded/smollm2"
PLAIN = Candidate()
SCORE = Candidate({"mood.decide": Choice("score", {"mood.decide": "score", "mood.cue": "Mood:"})})
WRITTEN = Candidate(
    {
        "mood.decide": Choice(
            "offsets",
            {
                "mood.decide": "score",
                "mood.cue": "Mood:",
                "mood.calibrate": {"method": "batch", "model": REFERENCE, "offsets": {"good": 0.0, "bad": 5.0}},
            },
        )
    }
)


def odds(number: int) -> float:
    """Return the log-odds of `good` that the model gives a row: right on most rows, but for its bias."""
    signal = SIGNAL if truth(number) == "good" else -SIGNAL
    return BIAS + signal + NOISE * Random(number).uniform(-1, 1)


def biased(request: Request) -> Reply:
    """Answer by the odds; where it is asked for alternatives, show both labels."""
    number = row_of(request)
    good = 1 / (1 + exp(-odds(number)))
    text = "good" if good > 0.5 else "bad"
    shown = tuple(Alternative(f" {label}".encode(), log(share)) for label, share in (("good", good), ("bad", 1 - good)))
    top = max(shown, key=lambda each: each.logprob)
    tokens = (Token(top.piece, top.logprob, shown),) if request.alternatives else ()
    return Reply(text=f" {text}", tokens=tokens, tokens_in=10, tokens_out=1, seconds=0.01)


def model(script: Script = biased) -> Scripted:
    """Return a model of a name that offsets can be bound to."""
    return Scripted(script, reference=REFERENCE)
