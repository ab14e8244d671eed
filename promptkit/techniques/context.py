"""A step's context as a technique gets it, and the exchanges and the answer that come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from promptkit.answers.base import AnswerType
from promptkit.answers.constraints.forms import ReplyForm
from promptkit.answers.decide import Scores
from promptkit.answers.head import Head
from promptkit.project import Project
from promptkit.prompts.front_matter import PromptInput
from promptkit.prompts.prompt import Example, Layer, Prompt
from promptkit.runtimes.base import Adapter, FunctionCall, Message, Reply, Request
from promptkit.runtimes.client import Client
from promptkit.techniques.artifacts import Artifact
from promptkit.techniques.thinking import Think
from promptkit.tools.backends import DEFAULT_BACKEND, Backend
from promptkit.tools.base import Tool

Spec = str | Mapping[str, Any]
"""A technique as a step names it: `NAME`, or `{NAME: {parameter: value}}`."""

Decide = Literal["constrain", "generate", "score"]
Flag = Literal["unparsed", "truncated", "no_consensus"]
CAPPED: Final = "capped"
"""The entry of an answer's `extra` that says that a bound of the technique ended it; it is a warning as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A step's options from its files; None leaves the choice to the technique or the answer type.

    `timeout` is the seconds for one request and not part of the request itself.
    """

    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top_p: float | None = None
    think: Think = None
    context: int | None = None
    timeout: float | None = None


@dataclass(slots=True, kw_only=True)
class CallRecord:
    """One request of a call, for the trace. `parsed` and `problem` are filled in when the answer is decided.

    `started` is seconds on the event loop's clock; `deciding` marks the request whose reply is the answer. Scoring
    is one record of `requests` requests. `level` counts requests that had to wait for each other: those of one
    level may run concurrently. `notes` say what happened with the reply: a program that failed, a table that was
    queried. `rule` names the rule by which the answer was read. `model` is the reference of another model than the
    step's that answered. `warnings` are counted in reports.
    """

    call: str
    request: Request
    reply: Reply
    started: float
    sample: str
    requests: int = 1
    level: int = 1
    deciding: bool = False
    repair: bool = False
    parsed: Any = None
    problem: str | None = None
    notes: tuple[str, ...] = ()
    rule: str | None = None
    model: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class ToolCall:
    """A call of a tool, by a step or by a model. `failure` says why there is no `result`; None where it succeeded.

    A call that is `refused` was not made, since the pipeline does not allow it. `seconds` is the time that it took.
    `id` is the model's for it, and `level` that of the request whose reply calls it: calls of one reply share it.
    """

    name: str
    arguments: Mapping[str, Any]
    result: Any = None
    failure: str | None = None
    refused: bool = False
    seconds: float = 0.0
    id: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """One execution of one step: its prompt, settings and runtime.

    `inputs` are the prompt's, with their types as far as known. `cue` is None (the prompt's, else the technique's, else
    the layout's), `none`, or the words. `layers` are the templates of enclosing techniques, innermost first; `replaced`
    are values that these give to roles in place of the inputs'.

    `example_answers` are the types of the examples' answers where they differ by row, else empty; `answer_of` then
    gives the type for other inputs, and `examples_for` the examples that are shown with other values. Paths in the
    technique's settings are relative to `folder`. `artifacts` were prepared for the step, by technique; their files'
    names begin with `home`, which is `PIPELINE.STEP`.

    `guard` returns the problem of a value with the step's guard. `models` are those of calls, by the call's name or
    `TECHNIQUE.CALL`, and `client_of` gives the client of a reference. `other_model` is the one whose `client`
    answers in place of the step's. `adapter` is on the requests whose replies are the step's answer, and on no other
    request: it was trained on these. `programs` is the backend that runs programs.

    `head` decides where it does not abstain, and `decide` elsewhere. `repairs` is how often a reply that cannot be read
    is asked for again.

    `sample` numbers the samples of an enclosing technique, and `level` is the level at which the execution, or that
    sample, began. `record` gets each request as soon as it is answered, `record_tool` each call of a tool when it
    begins, and `tool_finished` when it has its result or failure; `warn` gets the warnings of each technique's answer,
    also of one that runs inside another.

    `tools` are those that the technique may call, by name; one with effects only if `allow` lets it. `lacks_toolsets`:
    the step has more tools, of servers that were not asked for them because its requests are only shown.
    """

    prompt: Prompt
    values: Mapping[str, Any]
    inputs: Mapping[str, PromptInput]
    answer: AnswerType
    client: Client
    project: Project
    decide: Decide = "constrain"
    head: Head | None = None
    repairs: int = 0
    calibrate: Mapping[str, Any] | None = None
    layout: str | Path = "xml"
    messages: Literal["one", "system", "turns"] = "one"
    cue: str | None = None
    examples: tuple[Example, ...] = ()
    example_answers: tuple[AnswerType, ...] = ()
    answer_of: Callable[[Mapping[str, Any]], AnswerType] | None = None
    examples_for: Callable[[Mapping[str, Any]], tuple[Example, ...]] | None = None
    history: tuple[Message, ...] = ()
    options: Options = field(default_factory=Options)
    programs: Backend = DEFAULT_BACKEND
    tools: Mapping[str, Tool] = field(default_factory=dict)
    lacks_toolsets: bool = False
    allow: frozenset[str] = frozenset()
    guard: Callable[[Any], str | None] | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    client_of: Callable[[str], Awaitable[Client]] | None = None
    other_model: str | None = None
    adapter: Adapter | None = None
    folder: Path = Path()
    home: str = ""
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    replaced: Mapping[str, Any] = field(default_factory=dict)
    sample: str = "0"
    level: int = 0
    strict: bool = False
    record: Callable[[CallRecord], None] = lambda record: None
    record_tool: Callable[[ToolCall], None] = lambda call: None
    tool_finished: Callable[[ToolCall], None] = lambda call: None
    notice: Callable[[str], None] = lambda text: None
    warn: Callable[[Sequence[str]], None] = lambda names: None
    on_text: Callable[[Request, str], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A rendered call and its reply, as techniques see it. `cut` tells that the reply ran out of tokens.

    `client` is that of the model that answered. `form` is the one in which the reply has its answer; where an answer in
    JSON was `unwrapped`, the text is the plain one of its value, and the record keeps the reply. `ends` are the texts
    at which the reply was cut, `again` those at which an answer after it has gone on to an example that the model
    invents. `value` is that of a typed aside, None where no reply could be read. `before` is the text that an answer
    goes on from: thoughts. `by_head` is the decision of a head on the prompt, for the trace.
    """

    call: str
    request: Request
    reply: Reply
    cue: str
    thinks: bool
    record: CallRecord
    form: ReplyForm
    client: Client
    unwrapped: bool = False
    scores: Scores | None = None
    value: Any = None
    again: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    before: str = ""
    by_head: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.reply.text

    @property
    def calls(self) -> tuple[FunctionCall, ...]:
        """The calls of tools in the reply, in order."""
        return self.reply.calls

    @property
    def confidence(self) -> float | None:
        """The mean log-probability of the reply's tokens; None where it was not asked for or is not available."""
        tokens = self.reply.tokens
        return sum(token.logprob for token in tokens) / len(tokens) if tokens else None

    @property
    def head(self) -> str:
        """The line that its turn begins with, which ends the user's turn where a model cannot continue its own."""
        begun = self.request.begun or (self.request.messages[-1].content if self.request.messages else "")
        return begun.rstrip().rpartition("\n")[2].strip()

    @property
    def said(self) -> str:
        """The reply without the words that its turn begins with: a model that cannot continue a turn repeats them."""
        head, text = self.head, self.text.strip()
        repeated = head and text.casefold().startswith(head.casefold())
        return text[len(head) :].strip() if repeated else text

    @property
    def says_cue(self) -> bool:
        """True if the cue stands in the reply."""
        return self.cue.casefold() in self.text.casefold()

    def with_text(self, text: str) -> Exchange:
        """Return this exchange with another text in place of its reply's: the part of it to continue from."""
        return replace(self, reply=replace(self.reply, text=text))

    @property
    def cut(self) -> bool:
        return self.reply.finish == "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of a technique. `value` is None where `flag` says that there is none.

    `flag`: None, `unparsed` (no value of the type in the reply), `truncated` (the reply ran out of tokens before its
    value) or `no_consensus`. `extra` holds stages, votes and confidences. `last` is the deciding exchange, if any.
    `warnings` are those of the technique as a whole; a single reply's are in its record.
    """

    value: Any
    flag: Flag | None = None
    problem: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    last: Exchange | None = None
    warnings: tuple[str, ...] = ()

    def with_extra(self, **extra: Any) -> Answer:
        """Return this answer with further entries in `extra`."""
        return replace(self, extra={**self.extra, **extra})
