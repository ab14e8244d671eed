"""Sections, layouts, messages, expressions, rendering: from a prompt file and values to the messages sent."""

from promptkit.prompts.catalog import BrokenPrompt, Prompts
from promptkit.prompts.examples import Examples, examples_file, read_examples
from promptkit.prompts.expressions import Expression, check, evaluate, names
from promptkit.prompts.front import FRONT_MATTER_KEYS, InputSpec, split_front_matter
from promptkit.prompts.layout import Layout, open_layout
from promptkit.prompts.loader import pack, render_file
from promptkit.prompts.messages import Composed, MessageMode, compose
from promptkit.prompts.parsing import block_names
from promptkit.prompts.prompt import Example, Layer, Prompt, WrittenExample
from promptkit.prompts.sandbox import GLOBALS
from promptkit.prompts.sections import BLOCKS, CONVERSATION, SECTIONS, STATIC_SECTIONS
from promptkit.prompts.similar import word_vectors

__all__ = [
    "BLOCKS",
    "CONVERSATION",
    "FRONT_MATTER_KEYS",
    "GLOBALS",
    "SECTIONS",
    "STATIC_SECTIONS",
    "BrokenPrompt",
    "Composed",
    "Example",
    "Examples",
    "Expression",
    "InputSpec",
    "Layer",
    "Layout",
    "MessageMode",
    "Prompt",
    "Prompts",
    "WrittenExample",
    "block_names",
    "check",
    "compose",
    "evaluate",
    "examples_file",
    "names",
    "open_layout",
    "pack",
    "read_examples",
    "render_file",
    "split_front_matter",
    "word_vectors",
]
