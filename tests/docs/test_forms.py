"""The table of docs/models.md: the form of each answer type on each server, as the adapters find it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from promptkit.answers.build import build_answer_type
from promptkit.answers.constraints.forms import (
    CHOICE,
    GRAMMAR,
    GUIDANCE,
    JSON_OBJECT,
    OBJECT_SCHEMA,
    REGEX,
    SCHEMA,
    ReplyForm,
    reply_form,
)
from promptkit.runtimes.base import Capability
from promptkit.runtimes.in_process.embedded import CAPABILITIES
from promptkit.runtimes.servers.ollama_server import _capabilities as ollama_capabilities
from promptkit.runtimes.servers.openai import OpenAI
from tests.runtimes.servers.openai_server import LM_STUDIO, OPENAI, VLLM, OpenAIServer, serving

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
WORDS = {
    GUIDANCE: "llguidance",
    CHOICE: "choice",
    GRAMMAR: "grammar",
    REGEX: "regex",
    SCHEMA: "schema",
    OBJECT_SCHEMA: "object",
    JSON_OBJECT: "JSON object",
}
PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TYPES: dict[str, Any] = {
    "`label`, `choice`": {"label": ["a", "b"]},
    "`boolean`": "boolean",
    "`number`": "number",
    "`labels`": {"labels": ["a", "b"]},
    "`list`": "list",
    "`list` of `json`": {"list": {"of": {"json": PERSON}}},
    "`json`, an object": {"json": PERSON},
    "`json`, any other": {"json": {"type": "integer"}},
    "`json` without a schema": "json",
    "`code`": "code",
    "`spans`": {"spans": {"classes": ["a"], "text": "b"}},
    "`text`": "text",
}
STAND_INS = {
    "vLLM": OpenAIServer(VLLM),
    "LM Studio": OpenAIServer(LM_STUDIO),
    "OpenAI": OpenAIServer(OPENAI, strict=True),
    "any other": OpenAIServer(),
}
TESTED = ("in the process", "llama-server", "Ollama")
# What a real llama-server has is held by tests/runtimes/test_openai.py.
LLAMA_SERVER: frozenset[Capability] = frozenset({"grammar", "schema"})


async def found(server: OpenAIServer) -> Collection[Capability]:
    """Return the capabilities that the adapter finds."""
    async with serving(server):
        runtime = OpenAI("mini", base_url=server.url)
        try:
            return (await runtime.model()).capabilities
        finally:
            await runtime.close()


def word(reply: ReplyForm) -> str:
    """Return the word for a form in the table."""
    is_object = reply.form is SCHEMA and reply.writing == "object"
    return WORDS[OBJECT_SCHEMA] if is_object else WORDS.get(reply.form, "free")


async def table() -> str:
    """Return the table as the page has it."""
    servers: dict[str, Collection[Capability]] = {
        "in the process": CAPABILITIES,
        "llama-server": LLAMA_SERVER,
        "Ollama": ollama_capabilities({"capabilities": ["completion"]}, "0.33.0"),
        **{name: await found(server) for name, server in STAND_INS.items()},
    }
    rows = [["answer type", *servers], ["---"] * (len(servers) + 1)]
    for name, spec in TYPES.items():
        answer = build_answer_type(spec)
        rows.append([name, *(word(reply_form(answer, capabilities)) for capabilities in servers.values())])
    enforced = ["tested" if name in TESTED else "by its documentation" for name in servers]
    rows.append(["enforced", *enforced[:-1], "nothing"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


async def test_the_page_has_the_form_of_each_type_on_each_server() -> None:
    expected = await table()
    assert expected in PAGE.read_text(encoding="utf-8"), f"put this into docs/models.md:\n{expected}"
