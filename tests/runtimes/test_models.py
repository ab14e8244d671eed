"""Which model answers in a run, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from promptkit.errors import InputError, NotRecorded
from promptkit.runtimes.base import Capability, Message, Request
from promptkit.runtimes.models import Models, choose_model, default_reference
from promptkit.runtimes.replay import Recorder
from promptkit.runtimes.servers.ollama_server import OllamaModel

HELLO = Request(messages=(Message("user", "hello"),))


def installed(name: str, *, completes: bool = True) -> OllamaModel:
    can: frozenset[Capability] = frozenset({"chat"} if completes else {"embeddings"})
    return OllamaModel(name=name, digest="d", size=1, context=4096, capabilities=can)


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    for name in ("one", "other"):
        (tmp_path / f"{name}.yaml").write_text(f"{{model: {name}, otherwise: from {name}}}")
    return tmp_path


def answering(monkeypatch: pytest.MonkeyPatch, models: Sequence[OllamaModel] | None) -> None:
    async def installed_models(
        host: str | None = None, timeout: float = 0.3, *, one: bool = False
    ) -> Sequence[OllamaModel] | None:
        assert timeout <= 0.3
        return models

    monkeypatch.setattr("promptkit.runtimes.servers.ollama_server.installed_models", installed_models)


@pytest.mark.parametrize(
    ("option", "pipeline", "variable", "settings", "chosen"),
    [
        ("a", "b", "c", "d", ("a", "--model")),
        (None, "b", "c", "d", ("b", "the pipeline")),
        (None, None, "c", "d", ("c", "PROMPTKIT_MODEL")),
        (None, None, "", "d", ("d", "promptkit.yaml")),
        (None, None, None, None, ("auto", "auto")),
    ],
)
def test_the_default_is_the_first_that_is_given(
    monkeypatch: pytest.MonkeyPatch,
    option: str | None,
    pipeline: str | None,
    variable: str | None,
    settings: str | None,
    chosen: tuple[str, str],
) -> None:
    monkeypatch.delenv("PROMPTKIT_MODEL", raising=False)
    if variable is not None:
        monkeypatch.setenv("PROMPTKIT_MODEL", variable)
    assert default_reference(option, pipeline, settings) == chosen


async def test_auto_takes_the_ollama_model_used_last_that_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, [installed("embed", completes=False), installed("qwen:1b"), installed("old")])
    choice = await choose_model("auto", "auto")
    assert choice.reference == "ollama/qwen:1b"
    assert "--model ollama/qwen:1b" in (choice.notice or "")


@pytest.mark.parametrize(
    ("models", "said"),
    [(None, "no Ollama server answers"), ([], "no model"), ([installed("e", completes=False)], "no model")],
)
async def test_auto_takes_the_embedded_model_where_no_other_can_answer(
    monkeypatch: pytest.MonkeyPatch, models: list[OllamaModel] | None, said: str
) -> None:
    answering(monkeypatch, models)
    choice = await choose_model("auto", "auto")
    assert choice.reference == "embedded/smollm2"
    assert said in choice.why
    assert "not how good a prompt is" in (choice.notice or "")


async def test_a_named_model_is_taken_as_it_is_and_a_wrong_name_is_an_error() -> None:
    assert (await choose_model("ollama/a", "--model")).why == "--model"
    with pytest.raises(InputError):
        await choose_model("olama/a", "--model")


async def test_auto_tells_a_person_once_which_model_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, [installed("qwen")])
    told: list[str] = []
    async with Models(notice=told.append) as models:
        assert await models.get() is await models.get("auto")
    assert [line.split(" ")[0] for line in told] == ["ollama/qwen"]
    assert models.why() == "auto: the Ollama model used last"


async def test_each_reference_has_one_client_and_its_reason(scripts: Path) -> None:
    async with Models("scripted:one.yaml", why="the pipeline", base=scripts) as models:
        default, step = await models.get(), await models.get("scripted:other.yaml")
        assert default is await models.get("scripted:one.yaml")
        assert step is await models.get("scripted:other.yaml")
        assert [(await each.ask(HELLO)).text for each in (default, step)] == ["from one", "from other"]
        assert (models.why(), models.why("scripted:other.yaml")) == ("the pipeline", "the step")


async def test_the_option_stands_for_what_steps_name_too(scripts: Path) -> None:
    async with Models("scripted:one.yaml", why="--model", base=scripts) as models:
        assert await models.get("scripted:other.yaml") is await models.get()
        assert models.why("scripted:other.yaml") == "--model"


async def test_a_model_that_is_kept_apart_answers_though_the_command_line_names_another(scripts: Path) -> None:
    apart = ["scripted:other.yaml"]
    async with Models("scripted:one.yaml", why="--model", base=scripts, apart=apart) as models:
        client = await models.get("scripted:other.yaml")

        assert (await client.ask(HELLO)).text == "from other"
        assert (await (await models.get(None)).ask(HELLO)).text == "from one"
        assert models.why("scripted:other.yaml") == "the step"


async def test_weights_are_loaded_once_under_two_names(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, None)
    monkeypatch.setattr("promptkit.runtimes.in_process.weights.default_weights", lambda progress: scripts / "a.gguf")
    async with Models(base=scripts) as models:
        one, other = await models.get(), await models.get("embedded/smollm2")
        assert one is not other
        assert one.runtime is other.runtime


async def test_replies_are_kept_unless_it_is_said_otherwise(scripts: Path) -> None:
    class Memory(dict[str, str]):
        def cached(self, key: str) -> str | None:
            return self.get(key)

        async def keep(self, key: str, value: str) -> None:
            self[key] = value

    memory = Memory()
    for no_cache, cached in [(False, False), (False, True), (True, False)]:
        async with Models("scripted:one.yaml", store=memory, no_cache=no_cache, base=scripts) as models:
            assert (await (await models.get()).ask(HELLO)).cached is cached


async def test_what_is_kept_does_not_hide_that_a_recording_lacks_an_answer(scripts: Path) -> None:
    class Known:
        def cached(self, key: str) -> str | None:
            return '{"text": "kept"}'

        async def keep(self, key: str, value: str) -> None: ...

    recorder = Recorder(scripts / "run.jsonl")
    async with Models("scripted:one.yaml", recorder=recorder, base=scripts) as models:
        await (await models.get()).ask(HELLO)
    recorder.close()
    async with Models("replay:run.jsonl", store=Known(), base=scripts) as models:
        client = await models.get()
        assert (await client.ask(HELLO)).text == "from one"
        with pytest.raises(NotRecorded):
            await client.ask(Request(messages=(Message("user", "changed"),)))
