"""The decision of an answer by the labels' log-probabilities (`score`)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.answers.calibration import Calibration, best_label, read_calibration
from promptkit.errors import Unsupported
from promptkit.runtimes.base import Capability, Reply, Request
from promptkit.runtimes.client import Client

TOP_ALTERNATIVES = 200
"""How many alternatives a place is asked for; a runtime that gives fewer gives what it can."""
MAX_OUTSIDE_SHARE = 0.05
"""The share of rows with labels outside the alternatives above which their scores are not evidence."""
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The result of `score`. `logprobs` are before calibration, by written alternative (label, letter, true, false).

    `offsets` are those that calibration added. `outside` are the labels that the runtime's alternatives did not
    include; they count as its last alternative. `value` is None where all labels are outside, so that their scores say
    nothing.
    """

    value: Any
    logprobs: Mapping[str, float]
    offsets: Mapping[str, float] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    requests: int = 0
    tokens_in: int | None = None
    tokens_out: int | None = None
    seconds: float = 0.0
    cached: bool = False
    context: int | None = None


def score_needs(answer_type: AnswerType | None = None) -> frozenset[Capability]:
    """Return the capabilities that `score` needs for a type.

    Labels whose first characters differ are told apart by the reply's first token. Others may share it, and so need a
    model that continues from it.
    """
    starts = [label[0] for label in answer_type.alternatives()] if answer_type else []
    needs: frozenset[Capability] = frozenset({"logprobs"})
    return needs if starts and len(set(starts)) == len(starts) else needs | {"continue"}


def lead_after(begun: str) -> str:
    """Return the text between a begun turn and the answer: a blank, unless the turn is empty or ends in one."""
    return " " if begun and not begun[-1].isspace() else ""


async def score_answer(
    client: Client,
    request: Request,
    answer_type: AnswerType,
    *,
    calibrate: Calibration | Mapping[str, Any] | None = None,
    lead: str | None = None,
) -> Scores:
    """Return the label with the highest log-probability after the request's begun turn, corrected by `calibrate`.

    Walks the trie of the labels' tokens with one-token requests, only as far as labels share tokens. Raises Unsupported
    where the type has no closed set, or the model gives no log-probabilities or cannot continue a text. A model that
    cannot continue is asked for its first token only, where that tells the labels apart (`score_needs`).
    """
    labels = answer_type.alternatives()
    if not labels:
        raise Unsupported(
            f"`decide: score` needs a closed set of answers, which the type {answer_type.name} does not have"
        )
    if calibrate is not None and not isinstance(calibrate, Calibration):
        calibrate = read_calibration(calibrate, labels)
    await _refuse_incapable(client, request, answer_type)
    text_before = request.begun if request.prompt is None else request.prompt
    lead = lead_after(text_before) if lead is None else lead
    paths = [_LabelPath(label, f"{lead}{label}".encode()) for label in labels]
    await _tokenize(client, text_before, paths)
    walk = _TrieWalk(client, request)
    await walk.visit("", paths, 0.0)
    logprobs = {label: walk.logprobs[label] for label in labels}
    shown_first = {label: logprobs[label] for label in sorted(labels, key=walk.outside.__contains__)}
    winner = best_label(calibrate.corrected(shown_first) if calibrate else shown_first)
    return Scores(
        value=None if walk.outside.issuperset(labels) else answer_type.parse(winner),
        logprobs=logprobs,
        offsets=calibrate.offsets if calibrate else {},
        outside=tuple(label for label in labels if label in walk.outside),
        requests=len(walk.replies),
        tokens_in=_sum_known(reply.tokens_in for reply in walk.replies),
        tokens_out=_sum_known(reply.tokens_out for reply in walk.replies),
        seconds=sum(reply.seconds for reply in walk.replies),
        cached=bool(walk.replies) and all(reply.cached for reply in walk.replies),
        context=max((reply.context or 0 for reply in walk.replies), default=0) or None,
    )


@dataclass(slots=True)
class _LabelPath:
    """A label, its bytes after the cue, and its tokens where there is a tokenizer."""

    label: str
    text: bytes
    pieces: dict[int, bytes] = field(default_factory=dict)

    def next_piece(self, at: int, shown: Mapping[bytes, float]) -> bytes | None:
        """Return the token after the first `at` bytes: the tokenizer's, else the longest alternative that fits."""
        if at in self.pieces:
            return self.pieces[at]
        rest = self.text[at:]
        fitting = [piece for piece in shown if piece and rest.startswith(piece)]
        return max(fitting, key=len, default=None)


class _TrieWalk:
    """A walk down the trie of labels. A label's log-probability is the sum over its tokens, up to the one that
    identifies it.
    """

    def __init__(self, client: Client, request: Request) -> None:
        self.client = client
        self.request = request
        self.replies: list[Reply] = []
        self.logprobs: dict[str, float] = {}
        self.outside: set[str] = set()

    async def visit(self, prefix: str, paths: list[_LabelPath], logprob: float) -> None:
        """Score the labels that begin with `prefix`, whose own log-probability is given."""
        if len(paths) == 1:
            self.logprobs[paths[0].label] = logprob
            return
        shown = await self._shown(prefix)
        last = min(shown.values())
        at = len(prefix.encode())
        branches: dict[bytes, list[_LabelPath]] = {}
        for path in paths:
            piece = path.next_piece(at, shown) if len(path.text) > at else b""
            if piece is None:
                self._settle_outside(path, logprob + last)
            else:
                branches.setdefault(piece, []).append(path)
        self._end(branches.pop(b"", []), logprob, [shown.get(piece, last) for piece in branches])
        children = []
        for piece, inner in branches.items():
            if piece not in shown:
                self.outside.update(path.label for path in inner)
            children.append(self._descend(prefix.encode() + piece, inner, logprob + shown.get(piece, last)))
        await asyncio.gather(*children)

    async def _descend(self, prefix: bytes, paths: list[_LabelPath], logprob: float) -> None:
        try:
            text = prefix.decode()
        except UnicodeDecodeError:
            # A turn cannot begin with half a character, so labels that differ inside one cannot be distinguished.
            if len(paths) > 1:
                for path in paths:
                    self._settle_outside(path, logprob - math.log(len(paths)))
                return
            text = ""
        await self.visit(text, paths, logprob)

    def _settle_outside(self, path: _LabelPath, logprob: float) -> None:
        self.logprobs[path.label] = logprob
        self.outside.add(path.label)

    def _end(self, ended: Iterable[_LabelPath], logprob: float, going_on: Iterable[float]) -> None:
        """Score the label that ends here while others continue, with the probability that their tokens leave."""
        left = 1.0 - sum(math.exp(logprob) for logprob in going_on)
        for path in ended:
            self.logprobs[path.label] = logprob + math.log(max(left, _SMALLEST))

    async def _shown(self, prefix: str) -> dict[bytes, float]:
        """Return the alternatives after the begun turn and `prefix`, with their log-probabilities."""
        request = self.request
        place = {"begun": request.begun + prefix} if request.prompt is None else {"prompt": request.prompt + prefix}
        asked = replace(
            request,
            **place,  # type: ignore[arg-type]
            max_tokens=1,
            temperature=0.0,
            top_p=None,
            stop=(),
            alternatives=TOP_ALTERNATIVES,
        )
        reply = await self.client.ask(asked)
        self.replies.append(reply)
        if not reply.tokens:
            raise Unsupported("the model gave no log-probabilities", hint="use `decide: constrain`")
        token = reply.tokens[0]
        shown = {token.piece: token.logprob}
        for alternative in token.alternatives:
            # Two tokens may have the same text; the likelier one counts.
            shown[alternative.piece] = max(alternative.logprob, shown.get(alternative.piece, -math.inf))
        return shown


async def _refuse_incapable(client: Client, request: Request, answer_type: AnswerType) -> None:
    model = await client.model()
    needed = score_needs(None if request.begun else answer_type)
    if request.prompt is not None:
        needed = frozenset({"logprobs", "complete"})
    missing = sorted(needed - model.capabilities)
    if missing:
        raise Unsupported(
            f"`decide: score` needs {' and '.join(missing)}, which {model.reference} lacks",
            hint="use `decide: constrain` or `decide: generate`",
        )


async def _tokenize(client: Client, text_before: str, paths: Sequence[_LabelPath]) -> None:
    """Set the tokens of each path after the cue; none where a token crosses the border between them."""
    cue = text_before.rpartition("\n")[2]
    before = await client.tokenize(cue) if cue else ()
    if before is None:
        return
    for path in paths:
        whole = await client.tokenize(cue + path.text.decode())
        if whole is None or whole[: len(before)] != before or b"".join(whole[len(before) :]) != path.text:
            continue
        at = 0
        for piece in whole[len(before) :]:
            path.pieces[at] = piece
            at += len(piece)


def _sum_known(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
