"""The names of a prompt's sections, in the order in which every layout writes them, and the reserved names."""

from __future__ import annotations

from typing import Final

STATIC_SECTIONS: Final = ("persona", "instructions", "constraints", "context", "output_format")
"""The sections that are equal for all rows. `messages: system` sends them as the system message."""

SECTIONS: Final = (*STATIC_SECTIONS, "examples", "input", "recap", "cue")
"""All sections, in order."""

CONVERSATION: Final = ("system", "user")
"""Two further blocks that are sent as they are, before and after an input `history`."""

BLOCKS: Final = (*SECTIONS, *CONVERSATION)
"""All block names that a prompt may use; names that start with `_` are the author's own."""

BENEATH: Final = "prompt"
"""The name in `{% extends prompt %}`: the prompt beneath a technique's layer."""

CALL: Final = "call"
"""The name of the values of a technique's call."""

RESERVED: Final = frozenset({BENEATH, CALL})
