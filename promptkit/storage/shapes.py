"""The shapes of the store's JSON, as far as promptkit reads it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, NotRequired

from pydantic import ConfigDict, Field, Strict, with_config
from typing_extensions import TypedDict

MOST_COUNT = 10**12
"""The largest number of calls, tokens or seconds that can be true of a cell."""

LAST_SECOND = 253_402_300_799.0
"""The end of the year 9999: no clock says more."""

Text = Annotated[str, Strict()]
Truth = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0, le=MOST_COUNT)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Seconds = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=0, le=LAST_SECOND)]

_open = with_config(ConfigDict(extra="allow"))


class RunShape(TypedDict):
    """A run, its columns that hold JSON read."""

    kind: Text
    target: Text
    status: Text
    started: Seconds
    ended: Seconds | None
    model: dict[Text, Any]
    inputs: dict[Text, Any] | None
    record: dict[Text, Any]


@_open
class ModelShape(TypedDict):
    """The model of an evaluation."""

    reference: Text
    digest: Text


@_open
class KindShape(TypedDict):
    """The kind and parameters of a metric."""

    kind: Text
    parameters: dict[Text, Any]
    labels: NotRequired[list[Text]]
    each: NotRequired[Text]


@_open
class EvalInputsShape(TypedDict):
    """The inputs (settings) of an evaluation. An earlier promptkit left some of them out."""

    metrics: list[Text]
    variants: dict[Text, dict[Text, Any]]
    repeat: Annotated[int, Strict(), Field(ge=1)]
    folder: NotRequired[Text]
    target: NotRequired[Text]
    data: NotRequired[Text]
    rows: NotRequired[Count]
    cluster: NotRequired[Text | None]
    keys: NotRequired[dict[Text, Text]]
    kinds: NotRequired[dict[Text, KindShape]]
    contents: NotRequired[dict[Text, Text]]
    margins: NotRequired[dict[Text, float]]
    files: NotRequired[dict[Text, dict[Text, Text]]]
    models: NotRequired[dict[Text, ModelShape]]
    release: NotRequired[Text]
    exact: NotRequired[Truth]
    limited: NotRequired[Truth]


class UserShape(TypedDict):
    """The requests, tokens and seconds of a simulated user in a conversation."""

    calls: Count
    cached: Count
    tokens_in: Count
    tokens_out: Count
    seconds: Seconds


class OutcomeShape(TypedDict):
    """The outcome of a cell: the fields of `evaluation.cells.cell.Cell` that its answer set."""

    output: Any
    flag: Literal["", "unparsed", "truncated", "error"]
    problem: Text
    defect: NotRequired[Text]
    steps: dict[Text, Any]
    calls: Count
    cached: Count
    tokens_in: Count
    tokens_out: Count
    seconds: Seconds
    warnings: NotRequired[dict[Text, list[Text]]]
    warned_by: NotRequired[dict[Text, list[Text]]]
    simulated_user: NotRequired[UserShape]
    reads: NotRequired[dict[Text, Text]]
    asked: NotRequired[Seconds]


@_open
class JudgingShape(TypedDict):
    """The requests and tokens of a judge for one score."""

    calls: NotRequired[Count]
    tokens: NotRequired[Count]


@_open
class DetailShape(TypedDict):
    """The detail of a score."""

    judge: NotRequired[list[JudgingShape]]
    defect: NotRequired[Text]


class ScoreShape(NamedTuple):
    """A score: its value, its detail and why it is missing."""

    value: Number | None
    detail: DetailShape
    why: Text


class KeptScoreShape(NamedTuple):
    """The score of a slow metric, with the key of the row that it was given for and the files that it was made of."""

    value: Number | None
    detail: DetailShape
    why: Text
    row: Text
    reads: dict[Text, Text] | None = None


class ScoresShape(TypedDict):
    """The scores of a cell in a run. An earlier promptkit left the case out."""

    expect: Any
    case: NotRequired[Text]
    scores: dict[Text, ScoreShape]


class SplitShape(NamedTuple):
    """The split of a suite's rows."""

    salt: Annotated[int, Strict()]
    share: Annotated[float, Strict(), Field(gt=0, lt=1)]


class VerdictShape(NamedTuple):
    """The number of a verdict among those on the same rows."""

    ordinal: Annotated[int, Strict(), Field(ge=1)]


class OwnerShape(NamedTuple):
    """An opening of the store."""

    pid: Annotated[int, Strict()]
    seen: Number | None


class FunctionCallShape(TypedDict):
    """A call of a tool that a model wrote."""

    id: Text
    name: Text
    arguments: Text


class MessageShape(TypedDict):
    """A message of a request. An assistant's may have calls; a tool's has the call that it is the result of."""

    role: Text
    content: Text
    calls: NotRequired[list[FunctionCallShape]]
    call_id: NotRequired[Text]
    tool: NotRequired[Text]


@_open
class CallShape(TypedDict):
    """A call in the trace of a cell."""

    call: Text
    messages: list[MessageShape]
    begun: Text
    options: dict[Text, Any]
    reply: Text
    function_calls: NotRequired[list[FunctionCallShape]]
    thoughts: Text
    finish: Text
    context: NotRequired[Count]
    parsed: Any
    problem: Text | None
    tokens_in: Count | None
    tokens_out: Count | None
    seconds: Seconds
    cached: Truth
    sample: Text
    deciding: Truth
    repair: Truth
    notes: list[Text]
    model: NotRequired[Text]
    rule: NotRequired[Text]
    warnings: NotRequired[list[Text]]
    first_token: NotRequired[Seconds]
    tokens_a_second: NotRequired[Number]


@_open
class ToolCallShape(TypedDict):
    """A tool call in the trace of a cell."""

    name: Text
    arguments: dict[Text, Any]
    result: Any
    failure: Text | None
    refused: NotRequired[Truth]
    id: NotRequired[Text]
    level: NotRequired[Count]
    seconds: NotRequired[Seconds]


@_open
class TraceShape(TypedDict):
    """The trace of a cell: `engine.trace_record`."""

    name: Text
    kind: Text
    status: Text
    seconds: Seconds
    waited: Number
    value: Any
    problem: NotRequired[Text]
    warnings: NotRequired[list[Text]]
    warned_by: NotRequired[dict[Text, list[Text]]]
    extra: NotRequired[dict[Text, Any]]
    tool_calls: NotRequired[list[ToolCallShape]]
    calls: list[CallShape]
    parts: list[TraceShape]


@_open
class BatchShape(TypedDict):
    """The inputs of a batch: the file of its rows, their number, and the keys of an answer."""

    file: Text
    rows: Count
    output_keys: list[Text] | None


@_open
class BatchRowShape(TypedDict):
    """A row of a batch: its fields, and the result of the target."""

    fields: dict[Text, Any]
    output: Any
    steps: dict[Text, Any]
    totals: dict[Text, Number | dict[Text, Count]]
    trace: TraceShape
    error: NotRequired[Text]


@_open
class RequestShape(TypedDict):
    """A request of a run of a target."""

    messages: NotRequired[list[MessageShape]]
    prompt: NotRequired[Text]
    begun: NotRequired[Text]


Piece = Text | list[Annotated[int, Strict(), Field(ge=0, le=255)]]
"""A token: text, or bytes that are not text."""


class AlternativeShape(NamedTuple):
    """An alternative to a token, with its log-probability."""

    piece: Piece
    logprob: Number | None


class TokenShape(NamedTuple):
    """A token of a reply."""

    piece: Piece
    logprob: Number | None
    alternatives: list[AlternativeShape]


@_open
class ReplyShape(TypedDict):
    """A reply to a request."""

    text: Text
    finish: NotRequired[Text]
    thoughts: NotRequired[Text]
    tokens_in: NotRequired[Count | None]
    tokens_out: NotRequired[Count | None]
    tokens_thought: NotRequired[Count | None]
    seconds: NotRequired[Seconds]
    first_token: NotRequired[Seconds]
    tokens: NotRequired[list[TokenShape]]
    context: NotRequired[Count | None]
    tokens_reused: NotRequired[Count]
    prompt_seconds: NotRequired[Seconds]
    output_seconds: NotRequired[Seconds]


@_open
class StoredCallShape(TypedDict):
    """A call of a run of a target."""

    path: list[Text]
    call: Text
    request: RequestShape
    reply: ReplyShape
    cached: Truth
    repair: Truth
    problem: Text | None
    model: NotRequired[Text]
    rule: NotRequired[Text]
    warnings: NotRequired[list[Text]]


@_open
class AnswerShape(TypedDict):
    """The answer of a pinned case."""

    output: Any
    error: Text | None
    unparsed: Count
    calls: Count
    cached: Count
    tokens_in: Count
    tokens_out: Count
    seconds: Seconds
    models: dict[Text, Text]
    warnings: NotRequired[dict[Text, Count]]
    warned_by: NotRequired[dict[Text, list[Text]]]
    first_token: NotRequired[Seconds]
    tokens_a_second: NotRequired[Number]


class CaseShape(TypedDict):
    """The last result of a pinned case."""

    inputs: dict[Text, Any]
    answer: AnswerShape
