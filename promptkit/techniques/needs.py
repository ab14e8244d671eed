"""Requirements of techniques, and what is available for a step from the runtime, its inputs or a preparation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from promptkit.errors import InputError
from promptkit.prompts.front_matter import PromptInput
from promptkit.techniques.cost import samples
from promptkit.techniques.roles import bind
from promptkit.techniques.spec import ConfiguredTechnique

ROWS: Final = "rows"
FROM_ROWS: Final = frozenset({ROWS, "labels", "rationales"})
"""Needs that a preparation meets from its data; a step has them once there is an artifact."""

BUILT_IN: Final = frozenset({"sandbox", "sql", "embeddings"})
"""Needs that promptkit meets itself: without a runtime's embeddings, texts are compared by their words."""

HOW_TO_PROVIDE: Final[Mapping[str, str]] = {
    "documents": "`folder: PATH` with the technique (from the pipeline's file), or an input `documents`",
    "tools": "`tools: [NAME]` on the step, or `folder: PATH` with the technique",
    "table": "an input of the type table, or `table: INPUT` with the technique",
    "target": "an input `target`, or `target: INPUT` with the technique",
    "glossary": "an input `glossary`, or `glossary: INPUT` with the technique",
    "guideline": "an input `guideline`, or `guideline: INPUT` with the technique",
}
"""Ways to give a step what its technique needs, for needs that no model meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """Capabilities available for a step: its model's, its prompt's inputs, its tools and its prepared artifacts.

    `built_in` are the needs that promptkit meets itself, `prepared` the techniques with an artifact.
    """

    capabilities: Collection[str]
    inputs: Mapping[str, PromptInput] = field(default_factory=dict)
    has_tools: bool = False
    prepared: Collection[str] = ()
    built_in: Collection[str] = BUILT_IN

    def unmet(self, chosen: ConfiguredTechnique) -> list[str]:
        """Return the technique's unmet requirements, sorted. Raises InputError for a role that no input plays."""
        technique = chosen.technique
        bound = bind(technique.roles, chosen.roles, self.inputs)
        played = (role for role, name in bound.items() if name is not None)
        met: set[str] = {*self.capabilities, *self.built_in, *played}
        if chosen.documents:
            met.add("documents")
        if self.has_tools or "documents" in met:
            met.add("tools")
        if technique.name in self.prepared:
            met |= FROM_ROWS
        needs = technique.needs | {"sampling"} if samples(chosen) else technique.needs
        return sorted(needs - met)


def not_prepared(technique: str, home: str, target: str | None = None) -> InputError:
    """Return the error of a step for which nothing was prepared.

    `home` is `PIPELINE.STEP`, `target` the pipeline as a person types it where that is not its name.
    """
    pipeline, _, step = home.rpartition(".")
    return InputError(
        f"technique `{technique}` has nothing prepared for this step",
        hint=f"promptkit techniques prepare {technique} {target or pipeline} --step {step} --data FILE",
    )
