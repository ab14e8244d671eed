"""What stands between DSPy's predictors and models: the engine for steps of ours, plain text for its own signatures."""

from __future__ import annotations

from typing import Any, Final

import dspy

ANSWERED: Final = "promptkit_answered"
"""The setting of a predictor's call that holds what the engine has answered already."""


class StepAdapter(dspy.ChatAdapter):  # type: ignore[misc]  # DSPy has no types
    """DSPy's ChatAdapter, but for steps of ours, whose prompt the engine has rendered, asked and read.

    An optimizer's own signature is asked in free text, without a grammar. Small models seldom keep to its markers: a
    reply without them is the first of its texts. What is asked for is never asked again in another format.
    """

    def __init__(self) -> None:
        super().__init__(use_json_adapter_fallback=False)

    def __call__(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, demos: list[Any], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the answers to one call of a predictor. Raises AdapterParseError."""
        if ANSWERED in lm_kwargs:
            return [lm_kwargs[ANSWERED]]
        found: list[dict[str, Any]] = super().__call__(lm, lm_kwargs, signature, demos, inputs)
        return found

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """Return the fields in a reply. Raises AdapterParseError where it is blank or lacks what is no text."""
        try:
            found: dict[str, Any] = super().parse(signature, completion)
        except dspy.AdapterParseError as error:
            fields = signature.output_fields
            told = {name: error.parsed_result[name] for name in fields if name in (error.parsed_result or {})}
            if not completion.strip() or any(fields[name].annotation is not str for name in fields if name not in told):
                raise
            first = next(name for name in fields if name not in told)
            found = {**dict.fromkeys(fields, ""), first: "" if told else completion.strip(), **told}
        return found
