"""Plays a conversation against a target, turn by turn, as the answer of a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

from promptkit.engine.results import SIMULATED_USER, Result, trace_record
from promptkit.engine.run import Runner
from promptkit.engine.session import RunSettings
from promptkit.errors import InputError, PromptkitError, UnexpectedError
from promptkit.evaluation.cells.cell import Cell, take_result
from promptkit.evaluation.cells.failures import raise_if_it_ends_the_run
from promptkit.evaluation.cells.progress import VariantRun
from promptkit.evaluation.cells.tally import Usage
from promptkit.evaluation.cells.turns import turn_record
from promptkit.evaluation.suite.conversation import CONVERSATION, PLAYED, Conversation, SimulatedUser
from promptkit.prompts.filters import to_text
from promptkit.runtimes.models import Models
from promptkit.storage.hashes import content_key
from promptkit.storage.strict_json import json_bytes, plain
from promptkit.techniques.warnings import merged_sources

Ended = Literal["turns", "user", "until", "max", "broken"]
"""The end of a conversation: after the row's turns, by the user, where `until` held, at the most turns, or at an answer
that cannot be read.
"""
CAPPED: Final = "capped"
_SWAPPED: Final = {"user": "assistant", "assistant": "user"}


class ConversationPlayer:
    """Plays the conversations of a suite. One simulated user plays against all variants."""

    def __init__(self, conversation: Conversation, models: Models) -> None:
        self.conversation = conversation
        self.user: Runner | None = None
        if conversation.user is not None:
            settings = RunSettings(repairs=0, kind="eval")
            user = conversation.user
            self.user = Runner(user.pipeline, models=models, settings=settings, model=user.model)

    async def open(self) -> bytes:
        """Open the models of the simulated user, and return the key of all that it and the conversation are made of.

        Raises RuntimeFailure where a model is not there.
        """
        if self.user is None:
            return self.conversation.content
        await self.user.open()
        answered = self.user.session.answered.items()
        models = sorted([str(name), model.reference, model.digest] for name, model in answered)
        return content_key(self.conversation.content + json_bytes(models))

    async def play(self, cell: Cell, run: VariantRun, sample: str) -> PromptkitError | None:
        """Set a cell's outcome from a conversation with a variant, and return the failure that it met.

        An answer that does not parse, or was cut off, ends it: the conversation is wrong. A failure of the simulated
        user makes the cell missing. Raises StoreFailed and BudgetSpent.
        """
        return await _Play(self, cell, run, sample).run()


class _Failed(Exception):
    """A failure after which the cell is missing."""

    def __init__(self, problem: str, failure: PromptkitError | None = None) -> None:
        super().__init__(problem)
        self.failure = failure


class _Play:
    """One conversation, as far as it has gone."""

    def __init__(self, player: ConversationPlayer, cell: Cell, run: VariantRun, sample: str) -> None:
        self._spec = player.conversation
        self._user = player.user
        self._cell = cell
        self._run = run
        self._sample = sample
        self._inputs = {name: value for name, value in cell.bound.inputs[cell.place].items() if name != PLAYED}
        self._messages: list[dict[str, Any]] = [dict(message) for message in self._inputs[self._spec.history]]
        self._turns: list[dict[str, Any]] = []
        self._answers: list[Cell] = []
        self._parts: list[dict[str, Any]] = []
        self._usage = Usage()
        self._last: Any = None

    async def run(self) -> PromptkitError | None:
        """Play to the end and set the cell's outcome; return the failure that it met."""
        failure: PromptkitError | None = None
        try:
            ended, failure = await self._play()
        except _Failed as failed:
            failure = failed.failure
            self._cell.fail(str(failed), failure.defect if isinstance(failure, UnexpectedError) else "")
            return failure
        self._finish(ended)
        return failure

    async def _play(self) -> tuple[Ended, PromptkitError | None]:
        while True:
            part: dict[str, Any] = {"name": f"turn {len(self._turns) + 1}", "kind": "turn", "parts": []}
            text = await self._next_text(part)
            if not isinstance(text, str):
                self._parts += [_closed({**part, "name": "end"})] if part["parts"] else []
                return text[0], None
            failure = await self._answer(text, part)
            self._parts.append(_closed(part))
            if self._answers[-1].flag:
                return "broken", failure
            user = self._spec.user
            if user is not None and self._is_over(user, self._turns[-1]["user"]):
                return "until", None

    async def _next_text(self, part: dict[str, Any]) -> str | tuple[Ended]:
        """Return the user's next text, or how the conversation ended. Raises _Failed where the user failed."""
        number = len(self._turns)
        user = self._spec.user
        if user is None:
            turns = self._cell.bound.turns
            return turns[number] if number < len(turns) else ("turns",)
        if number >= user.max:
            return ("max",)
        text = await self._user_text(user, part)
        if text and not self._is_over(user, text):
            return text
        if not self._turns:
            raise _Failed("the simulated user ended the conversation before its first turn")
        return ("user" if not text else "until",)

    async def _user_text(self, user: SimulatedUser, part: dict[str, Any]) -> str:
        assert self._user is not None, "a simulated user has a runner"
        scope = {"row": self._cell.fields, "messages": self._messages}
        try:
            values = {name: plain(value.evaluate(scope, ())) for name, value in user.arguments.items()}
        except InputError as error:
            raise _Failed(f"the simulated user: {error}", error) from None
        values |= {name: spec.default for name, spec in user.pipeline.inputs.items() if name not in values}
        if user.history is not None:
            values[user.history] = [
                {**message, "role": _SWAPPED.get(message["role"], message["role"])} for message in self._messages
            ]
        result = await self._user.run(values, sample=self._sample_of_turn)
        self._count_user(result, part)
        raise_if_it_ends_the_run(result.error)
        if result.error is not None:
            raise _Failed(f"the simulated user: {result.error.message}", result.error)
        if result.output is not None and not isinstance(result.output, str):
            raise _Failed(f"the simulated user wrote {result.output!r:.60}, which is not a text")
        return (result.output or "").strip()

    def _count_user(self, result: Result, part: dict[str, Any]) -> None:
        totals = result.totals
        self._usage.calls += totals.calls
        self._usage.cached += totals.cached
        self._usage.tokens_in += totals.tokens_in
        self._usage.tokens_out += totals.tokens_out
        self._usage.seconds += sum(call.reply.seconds for node in result.trace.nodes() for call in node.calls)
        part["parts"].append({**trace_record(result.trace), "kind": SIMULATED_USER})

    def _is_over(self, user: SimulatedUser, text: str) -> bool:
        """Tell whether `until` holds after a user's text. Raises _Failed where it is neither true nor false."""
        if user.until is None:
            return False
        scope = {"row": self._cell.fields, "messages": self._messages, "message": text, "output": self._last}
        try:
            found = user.until.evaluate(scope, () if self._turns else {"output"})
        except InputError as error:
            raise _Failed(f"`until` of the conversation: {error}", error) from None
        if isinstance(found, bool) or (found is None and not self._turns):
            return bool(found)
        raise _Failed(f"`until` of the conversation must be true or false, not {found!r:.60}")

    async def _answer(self, text: str, part: dict[str, Any]) -> PromptkitError | None:
        """Let the target answer a text, and return the failure that it met. Raises _Failed where it has no answer."""
        run, spec = self._run, self._spec
        before = self._messages if spec.message else [*self._messages, {"role": "user", "content": text}]
        values = {**self._inputs, spec.history: before, **({spec.message: text} if spec.message else {})}
        result = await run.runner.run(values, sample=self._sample_of_turn)
        raise_if_it_ends_the_run(result.error)
        answer = Cell(variant=self._cell.variant, row=self._cell.row, repeat=self._cell.repeat, fields={})
        failure = take_result(answer, result, read=run.variant.pipeline.output.names, counted=run.variant.counted)
        part["parts"].append(answer.trace)
        number = len(self._turns) + 1
        if answer.flag == "error":
            raise _Failed(f"turn {number}: {answer.problem}", failure)
        reply = "" if answer.flag else self._reply(answer)
        self._answers.append(answer)
        self._turns.append(turn_record(number - 1, text, answer))
        if not answer.flag:
            self._last = answer.output
            turn = ({"role": "user", "content": text}, {"role": "assistant", "content": reply})
            self._messages += turn
        return failure

    def _reply(self, answer: Cell) -> str:
        """Return the text of an answer that goes into the conversation; an answer without one is flagged."""
        try:
            found = answer.output
            if self._spec.reply is not None:
                found = plain(self._spec.reply.evaluate({"output": found}, ()))
            return "" if found is None else to_text(found)
        except InputError as error:
            answer.flag, answer.problem = "unparsed", f"`reply` of the conversation: {error}"
            return ""

    @property
    def _sample_of_turn(self) -> str:
        """The sample of a turn: turns with equal prompts are different samples."""
        number = len(self._turns) + 1
        return self._sample if number == 1 else f"{self._sample}.{number}"

    def _finish(self, ended: Ended) -> None:
        cell, answers = self._cell, self._answers
        last = answers[-1]
        cell.output = {"messages": self._messages, "turns": self._turns, "ended": ended}
        cell.flag = last.flag
        cell.problem = f"turn {len(answers)}: {last.problem}" if last.flag else ""
        cell.steps = last.steps
        for name in ("calls", "cached", "tokens_in", "tokens_out"):
            setattr(cell, name, sum(getattr(answer, name) for answer in answers))
        cell.seconds = round(sum(answer.seconds for answer in answers), 6)
        warnings: dict[str, list[str]] = {CONVERSATION: [CAPPED]} if ended == "max" else {}
        for answer in answers:
            for step, names in (answer.warnings or {}).items():
                warnings[step] = list(dict.fromkeys([*warnings.get(step, ()), *names]))
        cell.warnings = warnings
        cell.warned_by = merged_sources(answer.warned_by for answer in answers)
        if self._spec.user is not None:
            cell.simulated_user = {**asdict(self._usage), "seconds": round(self._usage.seconds, 6)}
        trace = _closed({"name": self._run.variant.pipeline.name, "kind": CONVERSATION, "parts": self._parts})
        cell.read_trace = lambda: trace


def _closed(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node of the trace with all that a record of one has."""
    parts: Sequence[Mapping[str, Any]] = part["parts"]
    seconds = sum(inner["seconds"] for inner in parts)
    return {"status": "done", "value": None, "calls": [], "waited": 0.0, **part, "seconds": seconds}
