"""Fingerprints of weights: when two agree, and how the first of them is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.runtimes.base import Alternative, Reply, Request, Token
from promptkit.runtimes.servers.fingerprints import (
    COMPARED,
    KEPT_FINGERPRINTS,
    TOLERANCE,
    Fingerprint,
    agree,
    ask_fingerprint,
    fingerprint_digest,
)

LIKELIEST = {f"{number:02x}": -1.0 - number for number in range(COMPARED)}


def fingerprint(scores: dict[str, float] | None = None, text: str = "a") -> Fingerprint:
    return [(text, [LIKELIEST | (scores or {})])]


PAIRS: list[tuple[str, Fingerprint, bool]] = [
    ("the same", fingerprint(), True),
    ("numbers within the tolerance", fingerprint({"00": -1.0 - 0.99 * TOLERANCE}), True),
    ("a number beyond the tolerance", fingerprint({"00": -1.0 - 1.01 * TOLERANCE}), False),
    ("another text", fingerprint(text="b"), False),
    ("a further token", [("a", [LIKELIEST, LIKELIEST])], False),
    ("a further answer", [*fingerprint(), *fingerprint()], False),
    ("a further, unlikelier alternative", fingerprint({"ff": -9.0}), True),
    ("one of the likeliest missing", [("a", [dict(list(LIKELIEST.items())[1:])])], False),
    ("none at all", [], False),
]


@pytest.mark.parametrize(("what", "other", "same"), PAIRS, ids=[row[0] for row in PAIRS])
def test_fingerprints_agree_within_rounding(what: str, other: Fingerprint, same: bool) -> None:
    assert agree(fingerprint(), other) is same


def test_alternatives_beyond_the_likeliest_are_not_compared() -> None:
    assert agree(fingerprint({"ff": -9.0}), fingerprint({"ff": -7.0}))


def test_a_fingerprint_gets_the_digest_of_the_first_that_agrees() -> None:
    first = fingerprint_digest("server", fingerprint())
    assert fingerprint_digest("server", fingerprint({"00": -1.03})) == first
    # Compared with the first, not with the last that agreed, or a digest could wander.
    assert fingerprint_digest("server", fingerprint({"00": -1.06})) != first


def test_fingerprints_of_another_server_are_apart() -> None:
    first = fingerprint_digest("server", fingerprint())
    near = fingerprint({"00": -1.03})
    assert fingerprint_digest("other", near) != first
    assert fingerprint_digest("other", fingerprint()) != first


def test_a_digest_is_the_same_on_a_machine_that_has_kept_nothing(tmp_path: Path) -> None:
    first = fingerprint_digest("server", fingerprint())
    (tmp_path / "fingerprints.json").unlink()
    assert fingerprint_digest("server", fingerprint({"00": -1.0004})) == first


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"server": 1}', '{"server": {"a": [["x"]]}}', '{"server": {"a": 7}}']
)
def test_a_damaged_file_is_begun_again(tmp_path: Path, content: str) -> None:
    (tmp_path / "fingerprints.json").write_text(content)
    first = fingerprint_digest("server", fingerprint())
    assert fingerprint_digest("server", fingerprint({"00": -1.03})) == first


def test_only_the_latest_weights_of_a_server_are_kept() -> None:
    first = fingerprint_digest("server", fingerprint(text="0"))
    for number in range(1, KEPT_FINGERPRINTS):
        fingerprint_digest("server", fingerprint(text=str(number)))
    assert fingerprint_digest("server", fingerprint({"00": -1.03}, "0")) == first
    fingerprint_digest("server", fingerprint(text="one more"))
    assert fingerprint_digest("server", fingerprint({"00": -1.03}, "0")) != first


async def test_impossible_alternatives_are_left_out() -> None:
    token = Token(b"a", -1.0, (Alternative(b"a", -1.0), Alternative(b"b", float("-inf"))))

    async def ask(request: Request) -> Reply:
        return Reply(text="a", tokens=(token,))

    found = await ask_fingerprint(ask, raw=True, logprobs=True)
    assert found is not None
    assert found[0] == ("a", [{"61": -1.0}])
