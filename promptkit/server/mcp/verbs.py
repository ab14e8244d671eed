"""The verbs that an agent calls as tools: `check`, `render`, `run`, `eval` and `runs_compare`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from promptkit.api.check import check_all, find_targets
from promptkit.api.compare import compare
from promptkit.api.evaluate import aevaluate
from promptkit.api.run import arun, render_target
from promptkit.api.session import ModelArguments, ModelOptions, load
from promptkit.engine.inputs import fill_inputs
from promptkit.errors import InputError
from promptkit.project import Project
from promptkit.reports.text import counted
from promptkit.server.mcp.progress import ReportedProgress

_OWN_MODELS: Final = re.compile(r"auto|(?:ollama|embedded)/[^@\s]+")
"""Models that a client may name. Others, which have an address or a file, are named by files of the project."""


class Arguments(BaseModel):
    """The arguments of a verb."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Target = Annotated[str, Field(description="A pipeline or a prompt: its name, or a path in the project.")]
Inputs = Annotated[
    dict[str, Any] | None,
    Field(description="Values of the inputs by name. Without any, the examples in the files are used."),
]
ModelName = Annotated[
    str | None,
    Field(description="Answer with this model instead of the project's: `auto`, `ollama/NAME` or `embedded/NAME`."),
]


class CheckArguments(Arguments):
    paths: list[str] = Field([], description="Files, folders or names in the project. Default: the whole project.")


class RenderArguments(Arguments):
    target: Target
    inputs: Inputs = None
    step: str | None = Field(None, description="Show only this step.")
    model: ModelName = None


class RunArguments(Arguments):
    target: Target
    inputs: Inputs = None
    model: ModelName = None
    trace: bool = Field(False, description="Return every request and reply, too.")


class EvalArguments(Arguments):
    suite: str = Field(description="A suite: its name, or a path in the project.")
    target: str | None = Field(None, description="Measure this pipeline or prompt in place of the suite's own.")
    limit: int | None = Field(None, ge=1, description="The first rows only.")
    filters: dict[str, str] | None = Field(None, description="Only rows in which these fields have these values.")
    model: ModelName = None
    retry_errors: bool = Field(False, description="Send only failed requests again.")


class CompareArguments(Arguments):
    a: str = Field(description="RUN or RUN:VARIANT. A run is its number, `last` or `last~1`.")
    b: str | None = Field(None, description="The run to compare it with. Without it, the other variant of A.")
    metric: str | None = Field(None, description="Compare only by this metric.")
    rows: int = Field(3, ge=0, le=20, description="Worse rows, and better ones, that are shown in full.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a tool: a text for a model, and the same as a JSON object. `failed`: it is an error."""

    text: str
    value: Mapping[str, Any]
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The surroundings of a call: the project in the working folder, the model of the command line, the progress."""

    project: Project
    options: ModelOptions
    progress: ReportedProgress

    def asking(self, model: str | None) -> ModelArguments:
        """Return the server's options, with a model that the client names. Raises InputError for one it may not name.

        `sets` are not among them: they name steps of the pipelines that are served, not of any target.
        """
        if model is not None and not _OWN_MODELS.fullmatch(model):
            raise InputError(
                f"`{model}` cannot be chosen here",
                hint="`auto`, `ollama/NAME` or `embedded/NAME`; `model:` in a file of the project names others",
            )
        return {
            "model": model or self.options.model,
            "no_cache": self.options.no_cache,
            "strict": self.options.strict,
            "strict_on": self.options.strict_on,
            "timeout": self.options.timeout,
        }

    def target(self, name: str) -> str:
        """Return a target or a suite as it is named. Raises InputError for one outside of the project."""
        return self._inside(name, self.project.target)

    def suite(self, name: str) -> str:
        """Return a suite as it is named. Raises InputError for one outside of the project."""
        return self._inside(name, self.project.suite)

    def path(self, name: str) -> str:
        """Return a path or a name for `check`. Raises InputError for a path outside of the project."""
        return self._inside(name, Path)

    def _inside(self, name: str, find: Callable[[str], Path]) -> str:
        # First by its letters: to look for the nearest name would list other folders.
        if Path(name).is_absolute() or ".." in Path(name).parts or not self.project.inside(find(name)):
            raise InputError(f"`{name}` is not in the project", hint="paths are relative to the project's root")
        return name


async def check(arguments: CheckArguments, call: Call) -> Outcome:
    """Find all mistakes in the project's pipelines, prompts, suites and techniques, each with file, line and a hint.

    Sends no request and runs none of the project's Python. Call it after every edit.
    """
    paths = [call.path(path) for path in arguments.paths] or ["."]
    checked = await asyncio.to_thread(lambda: check_all(find_targets(paths)))
    found = [*map(str, checked.problems), *checked.notes]
    count = counted(len(checked.problems), "problem") if checked.problems else "no problems"
    value = checked.to_dict() | {"notes": checked.notes}
    return Outcome(text="\n".join([*found, f"{counted(len(checked.files), 'file')}, {count}"]), value=value)


async def render(arguments: RenderArguments, call: Call) -> Outcome:
    """Show the exact messages that each step would send, with its grammar and token count.

    Sends no request and runs none of the project's Python. Results that a later step needs come from the last run.
    """
    pipeline = load(call.target(arguments.target))
    values = fill_inputs(pipeline, arguments.inputs).values
    options = ModelOptions(**call.asking(arguments.model))
    rendered = await render_target(pipeline, values, options, call.progress, step=arguments.step)
    return Outcome(text=str(rendered), value=rendered.to_dict())


async def run(arguments: RunArguments, call: Call) -> Outcome:
    """Run a pipeline or a prompt once, and return its output and the result of each step.

    The run is kept in the project's store.
    """
    result = await arun(
        call.target(arguments.target),
        arguments.inputs,
        check=False,
        progress=call.progress,
        **call.asking(arguments.model),
    )
    value = result.to_dict()
    if not arguments.trace:
        del value["trace"]
    text = f"error: {result.error}" if result.error else str(result)
    return Outcome(text=text, value=value, failed=result.error is not None)


async def evaluate(arguments: EvalArguments, call: Call) -> Outcome:
    """Measure a suite's target on its rows: each metric with its 95 % interval, each variant against the first.

    Answers are kept, so a repeated call sends only requests that are new. Reports progress. Cancelling ends the run and
    keeps its answers.
    """
    result = await aevaluate(
        call.suite(arguments.suite),
        target=None if arguments.target is None else call.target(arguments.target),
        limit=arguments.limit,
        filters=arguments.filters,
        progress=call.progress,
        **call.asking(arguments.model),
        retry_errors=arguments.retry_errors,
    )
    steps = {name: step.text for name, step in result.steps.items()}
    value = {
        "run": result.number,
        "status": result.status,
        "passed": result.passed,
        "failure": result.failure or None,
        "report": result.text,
        "steps": steps,
    }
    return Outcome(text="\n\n".join([result.text, *steps.values()]), value=value)


async def runs_compare(arguments: CompareArguments, call: Call) -> Outcome:
    """Compare two evaluations, or the two variants of one, on the rows of both, with the rows that changed.

    Says whether a change helped: the difference of each metric has a 95 % interval.
    """
    found = await asyncio.to_thread(
        lambda: compare(arguments.a, arguments.b, metric=arguments.metric, rows=arguments.rows)
    )
    return Outcome(text=found.text, value=found.to_dict())


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb as a tool: its function, whose docstring a model reads, and its arguments."""

    function: Callable[[Any, Call], Awaitable[Outcome]]
    arguments: type[Arguments]

    @property
    def description(self) -> str:
        """The function's docstring as paragraphs of one line."""
        paragraphs = (self.function.__doc__ or "").split("\n\n")
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON Schema of the arguments."""
        return _without_titles(self.arguments.model_json_schema())


VERBS: Final[Mapping[str, Verb]] = {
    "check": Verb(check, CheckArguments),
    "render": Verb(render, RenderArguments),
    "run": Verb(run, RunArguments),
    "eval": Verb(evaluate, EvalArguments),
    "runs_compare": Verb(runs_compare, CompareArguments),
}


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without the titles that pydantic makes of the names, and without the class's docstring."""
    properties = {
        name: {key: value for key, value in part.items() if key != "title"}
        for name, part in schema.get("properties", {}).items()
    }
    kept = {key: value for key, value in schema.items() if key not in ("title", "description")}
    return {**kept, "properties": properties}
