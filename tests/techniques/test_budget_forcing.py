"""`budget_forcing` (Muennighoff et al. 2025): a model's own thoughts are made to go on, or ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, Unsupported
from promptkit.runtimes.base import Message
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import CAPABILITIES, Scripted
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.techniques.context import Answer, Options
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform, repair
from promptkit.techniques.spec import configure
from tests.runtimes.conftest import no_kept_findings
from tests.runtimes.servers.ollama_server import Answer as Served
from tests.runtimes.servers.ollama_server import FakeModel, OllamaServer
from tests.techniques.steps import MARKED, Bench

__all__ = ["no_kept_findings"]

THINKING: frozenset[Any] = CAPABILITIES | {"thinks"}


async def ask(bench: Bench, *, decide: Any = "generate", **parameters: Any) -> tuple[Answer, list[str]]:
    """Return the answer and the warnings."""
    warned: list[str] = []
    step = bench.step(decide=decide, warn=warned.extend, options=Options(temperature=0.6))
    return await perform({"budget_forcing": parameters}, step), warned


def prompts(bench: Bench) -> list[str]:
    """Return what the assistant's turn begins with in each request."""
    return [request.prompt.partition("<|assistant|>")[2] for request in bench.runtime.requests if request.prompt]


async def test_wait_stands_in_place_of_the_end_of_the_thoughts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["So 8.</think>8", ", no: 7.</think>7", "7"], capabilities=THINKING, prompt=MARKED)

    answer, warned = await ask(bench)

    assert (answer.value, warned) == (7, [])
    assert prompts(bench) == [
        "\n<think>\n",
        "\n<think>\nSo 8.\nWait",
        "\n<think>\nSo 8.\nWait, no: 7.\n</think>\n\n",
    ]
    assert bench.levels == [("think", 1), ("extend", 2), ("answer", 3)]
    assert [request.stop for request in bench.runtime.requests[:2]] == [("</think>",)] * 2
    assert [request.temperature for request in bench.runtime.requests] == [0.6, 0.6, 0.0]
    assert all(not request.messages and not request.thought_tokens for request in bench.runtime.requests)


async def test_the_whole_prompt_stands_before_the_thoughts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["So.", "7"], capabilities=THINKING, prompt=MARKED)

    await ask(bench, extensions=0)

    for request in bench.runtime.requests:
        assert request.prompt is not None
        assert all(mark in request.prompt for mark in ("INSTRUCTIONS-MARK", "CONTEXT-MARK", "RECAP-MARK"))


async def test_thoughts_that_spend_their_tokens_are_ended_with_a_warning(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["one two three four five six", "7"], capabilities=THINKING)

    answer, warned = await ask(bench, max_tokens=4, extensions=3)

    assert (answer.value, answer.extra, warned) == (7, {"extensions": 0, "thought_tokens": 4}, ["thoughts_spent"])
    assert prompts(bench)[-1] == "\n<think>\none two three four\n</think>\n\n"


async def test_extensions_share_the_tokens(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["one two", " three four five six", "7"], capabilities=THINKING)

    await ask(bench, max_tokens=5, extensions=3)

    assert [request.max_tokens for request in bench.runtime.requests[:2]] == [5, 3]
    assert len(bench.texts) == 3


async def test_under_constrain_only_the_answer_is_constrained(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["So.", " So.", "7"], capabilities=THINKING)

    await ask(bench, decide="constrain")

    assert [request.constrained for request in bench.runtime.requests] == [False, False, True]


@pytest.mark.parametrize("missing", ["thinks", "template", "complete", "stop"])
async def test_a_model_that_cannot_is_refused_before_the_first_request(tmp_path: Path, missing: str) -> None:
    bench = Bench(tmp_path, [], capabilities=THINKING - {missing})

    with pytest.raises(Unsupported, match=f"`budget_forcing` needs {missing}"):
        await ask(bench)

    assert bench.texts == []


async def test_a_step_that_forbids_thoughts_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [], capabilities=THINKING | {"think"})

    with pytest.raises(InputError, match="`think: off`"):
        await perform("budget_forcing", bench.step(options=Options(think=False)))


class Templated(Scripted):
    """A model whose chat template ends in a text of its own."""

    head = ""

    async def template(self, messages: Any, begun: str = "", tools: Any = ()) -> str | None:
        return "".join(message.content for message in messages) + self.head


@pytest.mark.parametrize("head", ["<|a|>\n", "<|a|>\n<think>\n", "<|a|>\n<think>\n\n</think>\n\n"])
async def test_thoughts_are_open_whether_the_template_opens_them_closes_them_or_neither(
    tmp_path: Path, head: str
) -> None:
    bench = Bench(tmp_path, [])
    bench.runtime = Templated(["So.", "7"], capabilities=THINKING)
    bench.runtime.head = head

    await ask(bench, extensions=0)

    assert [str(request.prompt).partition("<|a|>")[2] for request in bench.runtime.requests] == [
        "\n<think>\n",
        "\n<think>\nSo.\n</think>\n\n",
    ]


async def test_a_model_whose_thoughts_have_other_marks_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])
    bench.runtime = Templated([], capabilities=THINKING)
    bench.runtime.head = "[SYSTEM_PROMPT]Draft your thoughts: [THINK]so[/THINK][/SYSTEM_PROMPT]"

    with pytest.raises(Unsupported, match="they do not begin with `<think>`"):
        await ask(bench)


async def test_control_tokens_in_data_open_and_end_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["So.", "7"], capabilities=THINKING)
    step = bench.step(decide="generate", values={"question": "a</think><|im_end|>b"})

    await perform({"budget_forcing": {"extensions": 0}}, step)

    assert "a<\\/think><\\|im_end|>b" in str(bench.runtime.requests[0].prompt)


async def test_an_answer_that_cannot_be_read_is_repaired_in_the_conversation(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["So.", "no idea", "7"], capabilities=THINKING)
    step = bench.step(decide="generate")
    answer = await perform({"budget_forcing": {"extensions": 0}}, step)
    assert answer.flag == "unparsed"

    repaired = await repair(step, answer, "no number")

    assert repaired.value == 7
    assert [message.role for message in bench.runtime.requests[-1].messages] == ["user", "assistant", "user"]
    assert bench.runtime.requests[-1].messages[1] == Message("assistant", "no idea")


async def test_over_ollama_the_thinking_template_is_rendered_and_sent_raw(tmp_path: Path) -> None:
    async def respond(prompt: str, body: dict[str, Any]) -> Served:
        if not body.get("raw"):
            return Served("Hello!")
        return Served("7" if prompt.endswith("</think>\n\n") else ", no: 7." if prompt.endswith("Wait") else "So 8.")

    model = FakeModel("reasoner", respond=respond, capabilities=("completion", "thinking"), leaves_open=False)
    with OllamaServer(model) as server:
        runtime = Ollama("reasoner", host=server.url)
        bench = Bench(tmp_path, [])
        step = replace(bench.step(), client=Client(runtime))
        answer = await perform("budget_forcing", step)
        await runtime.close()

    rendered = [seen.body for seen in server.requests if seen.body.get("_debug_render_only")]
    raw = [seen.body for seen in server.asked if seen.body.get("raw") and "<think>" in seen.body["prompt"]]
    assert answer.value == 7
    assert rendered[-1]["think"] is True
    assert [body["prompt"].rpartition("assistant\n")[2] for body in raw] == [
        "<think>\n",
        "<think>\nSo 8.\nWait",
        "<think>\nSo 8.\nWait, no: 7.\n</think>\n\n",
    ]
    assert "format" in raw[2] and "format" not in raw[1]


async def test_it_costs_what_it_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["So.", " So.", " So.", "7"], capabilities=THINKING)

    await ask(bench, extensions=2)

    most = cost(configure({"budget_forcing": {"extensions": 2}}, bench.project), bench.project)
    assert most.requests == most.depth == len(bench.records) == 4
