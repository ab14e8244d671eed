"""What a technique sees of the step that it asks for: inputs, examples, roles, and its own calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptkit.answers import AnswerType
from promptkit.errors import InputError, nearest
from promptkit.prompts import Example, WrittenExample
from promptkit.techniques.artifacts import Artifact
from promptkit.techniques.building import cue_of, example_types, written_examples
from promptkit.techniques.calls import CallSpec, read_call
from promptkit.techniques.context import StepContext
from promptkit.techniques.roles import SECTION, bind

if TYPE_CHECKING:
    from promptkit.techniques.spec import Chosen


class StepView:
    """What a technique sees of one asking of a step.

    `inputs` are the prompt's values, `answer_type` says what must come out, `examples` are the user's, `params` the
    parameters that the step gave.
    """

    def __init__(self, step: StepContext, chosen: Chosen) -> None:
        self._step = step
        self._chosen = chosen
        self._technique = chosen.technique.name
        self._bound = bind(chosen.technique.roles, chosen.roles, step.inputs)
        given = {name: step.replaced[role] for role, name in self._bound.items() if name and role in step.replaced}
        if given:
            self._step = replace(step, values={**step.values, **given})
        self.params = chosen.parameters

    @property
    def inputs(self) -> Mapping[str, Any]:
        return self._step.values

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the prompt's inputs, those left out among them."""
        return tuple(dict.fromkeys((*self._step.inputs, *self._step.values)))

    @property
    def answer_type(self) -> AnswerType:
        return self._step.answer

    @property
    def examples(self) -> tuple[Example, ...]:
        return self._step.examples

    @property
    def examples_think(self) -> bool:
        """Whether the user's examples show thoughts, so that a call that thinks needs no trigger."""
        return any(example.thoughts for example in self._step.examples)

    @property
    def written_examples(self) -> tuple[WrittenExample, ...]:
        """The user's examples as a model reads them: the input section, the thoughts, and the written answer."""
        return written_examples(self._step)

    @property
    def example_types(self) -> tuple[AnswerType, ...]:
        """The answer type of each of the user's examples, which may differ by row."""
        return example_types(self._step)

    @property
    def decides(self) -> bool:
        """Whether an answer is decided by a request of its own after thoughts: `decide` is not `generate`."""
        return self._step.decide != "generate"

    @property
    def tools(self) -> Mapping[str, Callable[..., Any]]:
        """The step's tools by name."""
        return self._step.tools

    @property
    def has_documents(self) -> bool:
        """Whether there is something for `retrieve` to search."""
        return bool(self.role("documents") or self._chosen.documents)

    @property
    def artifact(self) -> Artifact | None:
        """What was prepared for this step by this technique, if anything was."""
        return self._step.artifacts.get(self._technique)

    @property
    def artifact_name(self) -> str:
        """`PIPELINE.STEP.TECHNIQUE`: the name of the file that holds the artifact, without its ending."""
        return f"{self._step.home}.{self._technique}"

    async def can(self, capability: str) -> bool:
        """Tell whether the runtime has a capability (`logprobs`, `embeddings`)."""
        return capability in (await self._step.asker.model()).capabilities

    def role(self, name: str) -> Any:
        """Return what plays a role: an input's value, for `question` else the input section; None for one left out."""
        bound = self._bound.get(name)
        if bound is not None:
            return self._step.values.get(bound)
        return self.section("input") if name == SECTION and name in self._bound else None

    def section(self, name: str) -> str:
        """Return one of the user's sections, rendered; an empty text where there is none."""
        found = self._step.prompt.sections(self._step.values, layers=self._step.layers, only=(name,))
        return found.get(name, "")

    def cue(self, call: str) -> str:
        """Return the words that the answer follows in a call; in the template of a call that thinks, `call.cue`."""
        return cue_of(self._step, self._call(call))

    def _role_values(self) -> dict[str, Any]:
        return {name: self.role(name) for name in self._bound}

    def demonstrations(self, call: str) -> tuple[Mapping[str, Any], ...]:
        """Return a call's demonstrations: one's own where the step gives them."""
        return self._call(call).demos if self._chosen.demos.get(call) is None else self.own_demos(call)

    @property
    def own_demo_names(self) -> tuple[str, ...]:
        """The names under which the step gives demonstrations: calls, and parts of one (`handler.NAME`)."""
        return tuple(self._chosen.demos)

    def own_demos(self, name: str) -> tuple[Mapping[str, Any], ...]:
        """Return the demonstrations that the step gives under a name, none where it gives none. Raises InputError."""
        from promptkit.techniques.spec import read_demos

        given = self._chosen.demos.get(name)
        return () if given is None else read_demos(given, self._step.folder)

    @property
    def _sampled(self) -> bool:
        """Whether this asking is one of the samples of an enclosing technique: its number then is a path."""
        return "/" in self._step.sample

    def _call(self, name: str) -> CallSpec:
        files = self._chosen.technique.calls_by_name
        if name not in files:
            raise InputError(f"technique `{self._technique}` has no template `{name}.j2`", hint=nearest(name, files))
        return read_call(files[name])
