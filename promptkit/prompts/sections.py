"""The names of a prompt's sections, in the order in which every layout writes them, and the reserved ones."""

from __future__ import annotations

from typing import Final

STATIC_SECTIONS: Final = ("persona", "instructions", "constraints", "context", "output_format")
"""What does not change from row to row; `messages: system` sends these as the system message."""

SECTIONS: Final = (*STATIC_SECTIONS, "examples", "input", "recap", "cue")
"""All sections, in order."""

CONVERSATION: Final = ("system", "user")
"""Two further blocks that are sent as they are, before and after an input `history`."""

BLOCKS: Final = (*SECTIONS, *CONVERSATION)
"""All block names that a prompt may use; names that begin with `_` are the author's own."""

BENEATH: Final = "prompt"
"""`{% extends prompt %}` names the prompt that a technique's layer lies on."""

CALL: Final = "call"
"""The values of a technique's call stand under this name."""

RESERVED: Final = frozenset({BENEATH, CALL})
