"""Training as terminal text: its live progress, and the summary at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from rich.text import Text

from promptkit.reports.progress import Progress
from promptkit.reports.text import counted, seconds_text, size_text
from promptkit.training.fitting.settings import FitProgress
from promptkit.training.records import StepRecord, TrainRecord
from promptkit.training.step_training import StepExamples

_ENDINGS = {
    "finished": "all steps done",
    "stopped early": "stopped early: the validation loss no longer fell",
    "time limit": "ended by --minutes; the same command with more of them goes on",
    "interrupted": "interrupted; the same command goes on",
    "loss not finite": "ended, since the loss was not a finite number; the best before that is kept",
}


class TrainingScreen:
    """Shows a step's training: a line that is redrawn in a terminal, and a line for each evaluation."""

    def __init__(self, progress: Progress | None, examples: StepExamples) -> None:
        self._progress = progress
        self._name = examples.labelled.step.name
        self._rows = (len({example.row for example in examples.training}), len(examples.validation))
        self._too_long = examples.too_long
        self._state: FitProgress | None = None
        self._evaluated = -1

    def showing(self) -> AbstractContextManager[None]:
        """Return a block within which the training is shown."""
        return nullcontext() if self._progress is None else self._progress.showing(lines=self._lines)

    def begin(self, stored: str, estimated: int) -> None:
        """Show what is trained, and the memory that it is expected to take."""
        training, validation = self._rows
        self._notice(
            f"{self._name}: {counted(training, 'row')} to train on, {validation} to validate on · "
            f"at most some {size_text(estimated)} of memory, weights as {stored}"
        )
        if self._too_long:
            numbers = ", ".join(map(str, self._too_long[:5]))
            more = f" and {len(self._too_long) - 5} more" if len(self._too_long) > 5 else ""
            self._notice(f"left out {counted(len(self._too_long), 'row')} longer than the window: {numbers}{more}")

    def update(self, state: FitProgress) -> None:
        """Take note of the training's state."""
        self._state = state
        found = state.evaluation
        if found is None or found.step <= self._evaluated:
            return
        self._evaluated = found.step
        loss = "base" if not found.step else f"step {found.step} of {state.steps}"
        if state.loss is not None and found.step:
            loss += f": loss {state.loss:.3f}"
        self._notice(f"{self._name}: {loss} · validation loss {found.loss:.3f}, {100 * found.accuracy:.0f} % right")

    def _notice(self, message: str) -> None:
        if self._progress is not None:
            self._progress.notice(message)

    def _lines(self, width: int) -> Iterator[Text]:
        state = self._state
        if state is None:
            yield Text(f"… {self._name} loading the weights", style="cyan")
            return
        parts = [f"{state.stage} {state.step} of {state.steps}"]
        parts += [] if state.loss is None else [f"loss {state.loss:.3f}"]
        if state.evaluation is not None:
            parts.append(f"validation {state.evaluation.loss:.3f}, {100 * state.evaluation.accuracy:.0f} % right")
        parts += [] if state.seconds_left is None else [f"at most {seconds_text(state.seconds_left)} left"]
        parts += [] if state.memory is None else [size_text(state.memory)]
        yield Text(f"… {self._name} {' · '.join(parts)}", style="cyan")


def training_text(record: TrainRecord) -> str:
    """Return the summary of a training."""
    return "\n\n".join("\n".join(_step_lines(step, record.kind)) for step in record.steps)


def _step_lines(record: StepRecord, kind: str) -> Iterator[str]:
    rows, difference = record.rows, record.difference
    spent = f"{counted(record.steps, 'step')}, {seconds_text(record.seconds)}"
    yield f"{record.step}: {_ENDINGS[record.ending]} ({spent})"
    measure = "held to the allowed answers" if record.measure == "constrained" else "the whole answer as expected"
    yield f"  validation   {counted(rows.validation, 'row')}, {measure}"
    for name, found in (("base", record.before), (kind, record.after)):
        loss = "not finite" if found.loss is None else f"{found.loss:.3f}"
        interval = f"[{100 * found.low:.0f}, {100 * found.high:.0f}]"
        yield f"  {name:<12} {100 * found.accuracy:.0f} % right {interval}, loss {loss}"
    low, high = 100 * difference.low, 100 * difference.high
    shown = "" if difference.low > 0 or difference.high < 0 else "; not shown to differ"
    yield f"  difference   {100 * difference.difference:+.0f} points [{low:+.0f}, {high:+.0f}]{shown}"
    yield "               the rows also chose the step that is kept, so this flatters it a little"
    if rows.generated_validation:
        yield f"  note         a model wrote {rows.generated_validation} of these rows: no proof for real ones"
    if record.file is None:
        yield f"  no {kind} written: no step of training had a lower validation loss than the base"
    else:
        yield f"  written      {record.file} (step {record.best_step})"


def next_lines(record: TrainRecord, evaluation: str) -> Iterator[str]:
    """Yield the next commands: name what was trained in the pipeline, and the `evaluation` on other rows."""
    written = [step for step in record.steps if step.file is not None]
    if not written:
        return
    yield "next:"
    for step in written:
        if not step.applied:
            name = (step.file or "").rpartition("/")[2]
            line = f"adapter: {name}" if record.kind == "adapter" else f"model: gguf:{name}"
            yield f"  {line}    # in the step `{step.step}` of the pipeline, or --apply"
    yield f"  {evaluation}    # rows that the training has not seen"
