"""Conversations that a suite plays against its target: scripted turns of a row, or a simulated user."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from pydantic import Field, model_validator

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.scope import CompiledValue
from promptkit.engine.spec import ClosedModel
from promptkit.engine.step_settings import resolve_model
from promptkit.errors import InputError, Problem, nearest
from promptkit.evaluation.cells.keys import content_hash
from promptkit.project import Project
from promptkit.storage.hashes import content_key
from promptkit.storage.models import Problems
from promptkit.storage.strict_json import plain
from promptkit.storage.yaml import Document, load

Read = TypeVar("Read")
CONVERSATION: Final = "conversation"
PLAYED: Final = "(conversation)"
"""The name among the inputs of a row under which the conversation's own material stands. No input has such a name."""
CONVERSATION_KEYS: Final = ("messages", "turns", "ended")
"""The keys of the output of a cell that is a conversation."""
_OF_USERS: Final = ("with_", "model", "until", "max")


class ConversationSpec(ClosedModel):
    """`conversation:`, with one of `turns`, the user's texts, and `user`, a prompt or pipeline that writes them.

    `history` and `message` are the target's inputs that take the conversation and the user's text; without `message`
    the text is the last message of the conversation. `reply` is the part of the target's output that goes into it.
    `with` are inputs of the user, `model` its model; it ends with an empty text, where `until` holds, or after `max`.
    """

    turns: Any = None
    user: str | None = None
    with_: dict[str, Any] = Field(default={}, alias="with")
    model: str | None = None
    until: str | None = None
    max: int = Field(default=10, ge=1, le=100)
    history: str | None = None
    message: str | None = None
    reply: str | None = None

    @model_validator(mode="after")
    def _check_one(self) -> ConversationSpec:
        if (self.turns is None) == (self.user is None):
            raise ValueError("a conversation has one of `turns`, the texts of a user, and `user`, who writes them")
        if self.turns is not None and (given := [key for key in _OF_USERS if key in self.model_fields_set]):
            named = " and ".join(f"`{key.rstrip('_')}`" for key in given)
            raise ValueError(f"{named} belong to a simulated `user`, not to `turns`")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedUser:
    """A pipeline that writes the user's next text, None or blank where it has nothing more to say.

    `arguments` are its inputs, expressions over `row` and `messages`. `history` is its input that gets the
    conversation as it sees it: its own texts as the assistant's. `until` reads `row`, `messages`, `message` (its last
    text) and `output` (the target's last one).
    """

    pipeline: Pipeline
    model: str | None
    arguments: Mapping[str, CompiledValue]
    history: str | None
    until: CompiledValue | None
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation to play. `turns` or `user` gives the user's texts; `content` is the key of what both are made of.

    `history`, `message` and `reply` are those of the suite's file.
    """

    history: str
    message: str | None
    reply: CompiledValue | None
    turns: CompiledValue | None
    user: SimulatedUser | None
    content: bytes = field(repr=False)

    @property
    def placeholders(self) -> dict[str, Any]:
        """The inputs that each turn sets, before the first one."""
        return {self.history: [], **({self.message: ""} if self.message else {})}

    def material(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parts of a row that the conversation is made of. Raises InputError for a wrong one.

        These are the user's texts or, with a simulated user, its inputs, and the whole row where `until` or an input
        that depends on the conversation reads it.
        """
        if self.user is None:
            return {"turns": list(self.texts(row))}
        arguments = self.user.arguments
        fixed = {name: value for name, value in arguments.items() if "messages" not in value.names}
        others = [value for name, value in arguments.items() if name not in fixed]
        others += [self.user.until] if self.user.until is not None else []
        given: dict[str, Any] = {
            "with": {name: plain(value.evaluate({"row": row}, ())) for name, value in fixed.items()}
        }
        return given | ({"row": dict(row)} if any("row" in value.names for value in others) else {})

    def texts(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the user's texts of a row, none with a simulated user. Raises InputError where they are not texts."""
        if self.turns is None:
            return ()
        found = plain(self.turns.evaluate({"row": row}, ()))
        if isinstance(found, str) and found.lstrip().startswith("["):
            found = load(found, file="turns").value
        if not isinstance(found, list):
            raise InputError(f"`turns` must be a list of texts, not {found!r:.60}")
        if not found:
            raise InputError("the conversation has no turn")
        wrong = (number for number, text in enumerate(found, 1) if not isinstance(text, str) or not text.strip())
        if (number := next(wrong, None)) is not None:
            raise InputError(f"turn {number} of the conversation is not a text: {found[number - 1]!r:.60}")
        return tuple(found)


class ReadValue(Protocol):
    """Compiles a value at a path of the suite, None where there is none; it may read `names`."""

    def __call__(
        self, value: Any, path: tuple[str | int, ...], names: Sequence[str], *, bare: bool = False
    ) -> CompiledValue | None: ...


class ConversationReader:
    """Reads `conversation:` of a suite; mistakes go into `problems`. `find` returns the file of a target."""

    def __init__(
        self,
        document: Document,
        project: Project,
        problems: Problems,
        value: ReadValue,
        find: Callable[[str], Path | None],
    ) -> None:
        self._document = document
        self._project = project
        self._problems = problems
        self._read_value = value
        self._find = find

    def read(self, spec: ConversationSpec, targets: Sequence[Pipeline]) -> Conversation | None:
        """Return the conversation with any of these targets, the variants of one. None where a part is too broken."""
        history = self._history(spec, targets)
        if spec.message is not None:
            self._check_inputs("message", spec.message, targets)
        keys = targets[0].output_keys
        if keys is not None and spec.reply is None:
            hint = f'reply: "{{{{ output.{next(iter(keys), "NAME")} }}}}"'
            message = "the target's output is a mapping: `reply` says which part of it is the answer to the user"
            self._problems.add(self._problem((), message, hint))
        user = None if spec.user is None else self._user(spec, spec.user)
        turns = self._value(spec.turns, "turns", ("row",))
        reply = self._value(spec.reply, "reply", ("output",))
        if history is None or (spec.user is not None and user is None):
            return None
        settings = json.dumps({**spec.given(), "turns": None}, sort_keys=True, default=str)
        return Conversation(
            history=history,
            message=spec.message,
            reply=reply,
            turns=turns,
            user=user,
            content=content_key(settings.encode()) if user is None else content_hash(user.pipeline, settings),
        )

    def _history(self, spec: ConversationSpec, targets: Sequence[Pipeline]) -> str | None:
        if spec.history is not None:
            return spec.history if self._check_inputs("history", spec.history, targets) else None
        taken = [name for name, declared in targets[0].inputs.items() if declared.type == "messages"]
        if not taken and "history" in targets[0].inputs:
            taken = ["history"]
        if len(taken) == 1:
            return taken[0]
        many = f"has several inputs of the type `messages`: {', '.join(taken)}"
        hint = "`history: INPUT` names one" if taken else "inputs: {conversation: {type: messages}}"
        message = many if taken else "has no input of the type `messages`, which would take the conversation"
        self._problems.add(self._problem((), f"the target {message}", hint))
        return None

    def _check_inputs(self, key: str, name: str, targets: Sequence[Pipeline]) -> bool:
        """Tell whether all targets have an input, and report it where one has not."""
        lacking = next((target for target in targets if name not in target.inputs), None)
        if lacking is not None:
            message = f"the target has no input `{name}`"
            self._problems.add(self._problem((key,), message, nearest(name, lacking.inputs)))
        return lacking is None

    def _user(self, spec: ConversationSpec, name: str) -> SimulatedUser | None:
        values = {key: self._value(value, ("with", key), ("row", "messages")) for key, value in spec.with_.items()}
        until = self._value(spec.until, "until", ("row", "messages", "message", "output"))
        model = None
        with self._problems.gather():
            if spec.model is not None:
                model = self._placed("model", partial(resolve_model, spec.model, self._folder, self._project))
        with self._problems.gather():
            pipeline = self._user_pipeline(name)
            history = next((key for key, declared in pipeline.inputs.items() if declared.type == "messages"), None)
            history = None if history in spec.with_ else history
            self._check_arguments(spec, pipeline, history)
            return SimulatedUser(
                pipeline=pipeline,
                model=model or pipeline.model,
                arguments={key: value for key, value in values.items() if value is not None},
                history=history,
                until=until,
                max=spec.max,
            )
        return None

    def _user_pipeline(self, name: str) -> Pipeline:
        file = self._placed("user", partial(self._find, name))
        if file is None:
            known = [*self._project.names("pipelines"), *self._project.names("prompts")]
            message = f"there is no pipeline or prompt `{name}`"
            raise InputError(self._problem(("user",), message, nearest(name, known)))
        return load_target(file, self._project)

    def _check_arguments(self, spec: ConversationSpec, pipeline: Pipeline, history: str | None) -> None:
        for name in spec.with_:
            if name not in pipeline.inputs:
                message = f"`{spec.user}` has no input `{name}`"
                self._problems.add(self._problem(("with", name), message, nearest(name, pipeline.inputs)))
        for name, declared in pipeline.inputs.items():
            if name not in spec.with_ and name != history and not declared.has_default:
                hint = f'with: {{{name}: "{{{{ row.{name} }}}}"}}'
                self._problems.add(self._problem(("user",), f"nothing gives `{spec.user}` the input `{name}`", hint))

    def _value(self, value: Any, key: str | tuple[str, ...], names: Sequence[str]) -> CompiledValue | None:
        path = (CONVERSATION, *([key] if isinstance(key, str) else key))
        return self._read_value(value, path, names, bare=key == "until")

    def _placed(self, key: str, read: Callable[[], Read]) -> Read:
        try:
            return read()
        except InputError as error:
            raise InputError(
                problem if problem.file else self._problem((key,), problem.message, problem.hint)
                for problem in error.problems
            ) from None

    @property
    def _folder(self) -> Path:
        return Path(self._document.file).absolute().parent

    def _problem(self, path: tuple[str, ...], message: str, hint: str | None = None) -> Problem:
        return self._document.problem((CONVERSATION, *path), message, hint)
