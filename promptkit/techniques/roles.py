"""Roles: what a technique must know of a step's inputs, and which input plays each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from promptkit.errors import InputError
from promptkit.prompts.front_matter import PromptInput

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "question": ("text",),
    "context": ("text", "list"),
    "table": ("table",),
    "target": ("text",),
    "documents": ("list",),
    "glossary": ("json", "list", "table"),
    "guideline": ("text",),
    "wordings": ("list",),
}
"""The roles that there are, with the types of input that can play each."""

SECTION: Final = "question"
"""The role that the whole input section plays where no input does."""

OPTIONAL: Final = "?"


@dataclass(frozen=True, slots=True)
class Role:
    """A role of a technique. An optional one is played only by an input of its name, or one that the step binds."""

    name: str
    optional: bool = False

    @classmethod
    def parse(cls, text: str) -> Role:
        """Return the role that `question`, or `context?` for an optional one, declares. Raises ValueError."""
        name = text.removesuffix(OPTIONAL)
        if name not in KINDS:
            raise ValueError(f"there is no role `{name}`; roles are {', '.join(KINDS)}")
        return cls(name, text.endswith(OPTIONAL))


def bind(roles: Collection[Role], given: Mapping[str, str], inputs: Mapping[str, PromptInput]) -> dict[str, str | None]:
    """Return the input that plays each role; None where none plays it, which for `question` is the input section.

    `given` is what the step binds. Then an input of the role's name plays it, then the only input left of its types.
    Raises InputError, without a place, naming the inputs, where a role that is not optional stays unbound.
    """
    bound: dict[str, str | None] = {name: given[name] for name in (role.name for role in roles) if name in given}
    for role in roles:
        if role.name in inputs:
            bound.setdefault(role.name, role.name)
    for role in sorted(roles, key=lambda role: role.name != SECTION):  # What is asked is in the input, if anything is.
        if role.name in bound:
            continue
        left = [name for name in inputs if name not in bound.values() and kind_of(inputs[name]) in KINDS[role.name]]
        if len(left) == 1 and not role.optional:
            bound[role.name] = left[0]
        elif role.optional or role.name == SECTION:
            bound[role.name] = None
        else:
            kinds = " or ".join(KINDS[role.name])
            message = f"no input plays the role `{role.name}` ({kinds}); the inputs are {', '.join(inputs) or 'none'}"
            raise InputError(message, hint=f"`{role.name}: INPUT` with the technique says which one does")
    return bound


def kind_of(spec: PromptInput) -> str:
    """Return the type of an input: as stated, else that of its default or example."""
    if spec.type:
        return spec.type
    value = spec.default if spec.default is not None else spec.example
    if isinstance(value, list):
        return "table" if value and all(isinstance(row, Mapping) for row in value) else "list"
    kinds: dict[type, str] = {bool: "boolean", int: "number", float: "number", dict: "json"}
    return kinds.get(type(value), "text")
