"""Asks a model for what a sentence does not say, one typed question at a time, and checks each answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from promptkit.api.session import Session
from promptkit.api.start.checks import (
    DEFINITION_LIMIT,
    clean_text,
    definition_fault,
    example_fault,
    input_name,
    labels_fault,
    slug,
    text_fault,
)
from promptkit.api.start.draft import (
    TEMPLATES,
    Draft,
    answer_text,
    case_for,
    default_case,
    expected_answers,
)
from promptkit.api.start.sentence import field_type
from promptkit.api.start.vocabulary import Kind
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.run import Runner
from promptkit.engine.session import OnEvent
from promptkit.errors import RuntimeFailure, UnparsedAnswer
from promptkit.runtimes.model_size import parameter_bounds

MOST_DEFINED: Final = 20
"""Labels beyond this number get no definition."""
LONGEST_TASK: Final = 1_000
"""Characters of the sentence that a model is shown."""
LEAST_PARAMETERS: Final = 1e9
"""A model with fewer parameters is asked for no text that goes into the prompt: the sentence alone is better."""

_KINDS: Final[Mapping[str, Kind]] = {
    "one category": "label",
    "several categories": "labels",
    "yes or no": "boolean",
    "number": "number",
    "list": "list",
    "record": "record",
    "text": "text",
}


def _without_folder(reference: str) -> str:
    """Return a model reference without the folder of its file, which is this machine's own."""
    kind, colon, path = reference.partition(":")
    return f"{kind}:{PurePath(path).name}" if colon and kind in ("gguf", "scripted", "replay") else reference


class Proposer:
    """Asks a session's model about one draft, and puts what passes the checks into it.

    Anything else leaves the choice open and adds a note. `failure` is what ended the asking: a model that is gone.
    """

    def __init__(self, draft: Draft, session: Session, on_event: OnEvent | None = None) -> None:
        self._draft = draft
        self._session = session
        self._on_event = on_event
        self._task = draft.reading.sentence[:LONGEST_TASK]
        self._is_small = False
        self.failure: RuntimeFailure | None = None

    async def propose_answer(self) -> None:
        """Propose the kind of answer, its labels or fields, and the input, where they are missing."""
        draft = self._draft
        await self._name_model()
        if draft.missing("kind") and (kind := await self._ask("kind", task=self._task)) is not None:
            draft.kind, draft.sources["kind"] = _KINDS[kind], "model"
        if draft.kind in ("label", "labels") and draft.missing("labels"):
            await self._propose_labels()
        if draft.kind == "record" and draft.missing("fields"):
            await self._propose_fields()
        if draft.missing("inputs") and (word := await self._ask("input", task=self._task)) is not None:
            name = input_name(word)
            if len(word.split()) <= 2 and slug(word):
                draft.set_inputs({name: f"the {name.replace('_', ' ')}"}, "model")
            else:
                draft.notes.append(f"the name of the input that the model proposed is refused: `{word[:40]}`")

    async def propose_details(self) -> None:
        """Propose definitions of labels, instructions and cases, where they are missing."""
        draft = self._draft
        await self._name_model()
        if self.failure is None and self._is_small:
            draft.notes.append(
                f"{draft.model} has fewer than 1B parameters, too few to write definitions or instructions"
            )
        elif self.failure is None:
            if draft.kind in ("label", "labels") and not draft.has_placeholders:
                await self._propose_definitions()
            if draft.missing("instructions"):
                await self._propose_instructions()
        if not draft.cases and not draft.has_placeholders:
            await self._propose_cases()

    async def _name_model(self) -> None:
        try:
            model = await (await self._session.models.get(None)).model()
        except RuntimeFailure as failure:
            self.failure = failure
            return
        self._draft.model = _without_folder(model.reference)
        bounds = parameter_bounds(model)
        self._is_small = bounds is not None and bounds[1] < LEAST_PARAMETERS

    async def _ask(self, question: str, **values: Any) -> Any:
        """Return the answer to a question, None for a failure and for a reply that cannot be read."""
        if self.failure is not None:
            return None
        pipeline = load_target(TEMPLATES / f"ask_{question}.j2", self._session.project)
        runner = Runner(pipeline, models=self._session.models, settings=self._session.settings, on_event=self._on_event)
        try:
            await runner.open()
            result = await runner.run(fill_inputs(pipeline, values).values)
        except RuntimeFailure as failure:
            self.failure = failure
            return None
        if result.error is None:
            return result.output
        if isinstance(result.error, RuntimeFailure):
            self.failure = result.error
        elif not isinstance(result.error, UnparsedAnswer):
            raise result.error
        return None

    async def _propose_labels(self) -> None:
        found = await self._ask("labels", task=self._task)
        if found is None:
            return
        labels = list(dict.fromkeys(clean_text(label).strip("\"'.") for label in found))
        labels = [label for label in labels if label.casefold() != self._draft.reading.subject.casefold()]
        if fault := labels_fault(labels):
            self._draft.notes.append(f"the labels that the model proposed are refused: {fault}")
        else:
            self._draft.set_labels(labels, "model")

    async def _propose_fields(self) -> None:
        found = await self._ask("fields", task=self._task)
        fields = {name: field_type(phrase) for phrase in found or () if (name := slug(phrase))}
        if fields:
            self._draft.fields, self._draft.sources["fields"] = fields, "model"

    async def _propose_definitions(self) -> None:
        draft = self._draft
        open_labels = [label for label, definition in draft.labels.items() if not definition]

        async def define(label: str) -> None:
            others = ", ".join(other for other in list(draft.labels)[:MOST_DEFINED] if other != label)
            text = clean_text(str(await self._ask("definition", task=self._task, label=label, others=others) or ""))
            if self.failure is not None:
                return
            fault = definition_fault(text, f"{self._task} {label} {others}")
            if fault is None and not await self._agrees(text, label):
                fault = "the model itself takes it for another label's"
            if fault:
                draft.notes.append(f"the definition that the model proposed for `{label}` is refused: {fault}")
            else:
                draft.labels[label], draft.sources[f"definition of {label}"] = text[:DEFINITION_LIMIT], "model"

        await asyncio.gather(*(define(label) for label in open_labels[:MOST_DEFINED]))

    async def _propose_instructions(self) -> None:
        draft = self._draft
        labels = ", ".join(draft.labels) if draft.sources.get("labels") != "sentence" else ""
        text = clean_text(str(await self._ask("instructions", task=self._task, labels=labels) or "")).strip("\"'` ")
        if self.failure is not None:
            return
        fault = text_fault(text, 4 * len(self._task) + 400)
        names = [*draft.labels, *(field.replace("_", " ") for field in draft.fields)]
        left_out = next((name for name in names if name.casefold() not in text.casefold()), None)
        if fault is None and left_out is not None:
            fault = f"they leave out `{left_out}`"
        if fault is None and re.search(rf"[\"“']{re.escape(self._task)}", text, re.IGNORECASE):
            fault = "they quote the task as if it were the text"
        if fault:
            draft.notes.append(f"the instructions that the model proposed are refused: {fault}")
        else:
            draft.instructions, draft.sources["instructions"] = text, "model"

    async def _propose_cases(self) -> None:
        draft = self._draft
        expected = expected_answers(draft)
        texts = await asyncio.gather(*(self._example(number, expect) for number, expect in enumerate(expected, 1)))
        seen: set[str] = set()
        for number, (expect, text) in enumerate(zip(expected, texts, strict=True), 1):
            if text and text not in seen:
                draft.cases.append(case_for(draft, expect, number, text, "model"))
                seen.add(text)
            else:
                draft.cases.append(default_case(draft, expect, number))
        if self.failure is None and len(seen) < len(expected):
            draft.notes.append(
                f"{len(expected) - len(seen)} of {len(expected)} examples that the model wrote are refused: they "
                "repeat another, or the model itself gives another answer"
            )

    async def _example(self, number: int, expect: Any) -> str:
        """Return an example with an expected answer that the model agrees with, empty where none is usable."""
        draft = self._draft
        text = await self._ask(
            "example",
            task=self._task,
            item=draft.item,
            is_further=number > 1 and expect is None,
            answer=answer_text(expect),
            definition=draft.labels.get(answer_text(expect), ""),
        )
        text = clean_text(str(text or "")).strip("\"' ")
        if example_fault(text, self._shown()) is not None:
            return ""
        if expect is None or draft.kind == "labels" or await self._agrees(text, answer_text(expect)):
            return text
        return ""

    async def _agrees(self, text: str, answer: str) -> bool:
        """Tell whether the model gives a text the answer that it was written for."""
        labels = [*self._draft.labels] or [answer_text(one) for one in expected_answers(self._draft)]
        return bool(await self._ask("answer", task=self._task, text=text, labels=labels) == answer)

    def _shown(self) -> list[str]:
        """Return the texts of the examples in the question for an example."""
        prompt = load_target(TEMPLATES / "ask_example.j2", self._session.project).steps["ask_example"].prompt
        assert prompt is not None
        return [str(example["output"]) for example in prompt.settings["examples"]]
