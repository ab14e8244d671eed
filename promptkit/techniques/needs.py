"""What a technique needs and whether it is at hand: from the runtime, the step and its inputs, or a preparation."""

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
"""What a preparation takes from its data; a step has it once there is an artifact."""

BUILT_IN: Final = frozenset({"sandbox", "sql", "embeddings"})
"""What promptkit brings itself; texts are compared by their words where the runtime has no embeddings."""

HOW_TO_PROVIDE: Final[Mapping[str, str]] = {
    "documents": "`folder: PATH` with the technique (from the pipeline's file), or an input `documents`",
    "tools": "`tools: [NAME]` on the step, or `folder: PATH` with the technique",
    "table": "an input of the type table, or `table: INPUT` with the technique",
    "target": "an input `target`, or `target: INPUT` with the technique",
    "glossary": "an input `glossary`, or `glossary: INPUT` with the technique",
    "guideline": "an input `guideline`, or `guideline: INPUT` with the technique",
}
"""How a person gives a step what it lacks, where that is not the model's to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """What is at hand for a step: what its model can do, its prompt's inputs, its tools, what was prepared for it.

    `brings` is what promptkit itself has.
    """

    capabilities: Collection[str]
    inputs: Mapping[str, PromptInput] = field(default_factory=dict)
    has_tools: bool = False
    prepared: Collection[str] = ()
    brings: Collection[str] = BUILT_IN

    def lacks(self, chosen: ConfiguredTechnique) -> list[str]:
        """Return what a technique needs and has not, sorted. Raises InputError for a role that stays unbound."""
        technique = chosen.technique
        bound = bind(technique.roles, chosen.roles, self.inputs)
        played = (role for role, name in bound.items() if name is not None)
        found: set[str] = {*self.capabilities, *self.brings, *played}
        if chosen.documents:
            found.add("documents")
        if self.has_tools or "documents" in found:
            found.add("tools")
        if technique.name in self.prepared:
            found |= FROM_ROWS
        needs = technique.needs | {"sampling"} if samples(chosen) else technique.needs
        return sorted(needs - found)


def not_prepared(technique: str, home: str, target: str | None = None) -> InputError:
    """Return the error of a step for which nothing was prepared.

    `home` is `PIPELINE.STEP`, `target` the pipeline as a person would type it where that is not by its name.
    """
    pipeline, _, step = home.rpartition(".")
    return InputError(
        f"technique `{technique}` has nothing prepared for this step",
        hint=f"promptkit techniques prepare {technique} {target or pipeline} --step {step} --data FILE",
    )
