"""The tools that `promptkit serve --mcp` offers, called by the official client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client

from promptkit.errors import InputError
from promptkit.server.mcp.results import CUT, MAX_RESULT, bounded_object, bounded_text
from tests.server.mcp.conftest import connected

pytestmark = pytest.mark.usefixtures("project")


async def call(client: Client, name: str, **arguments: Any) -> types.CallToolResult:
    return await client.call_tool(name, arguments)


def text_of(result: types.CallToolResult) -> str:
    assert isinstance(result.content[0], types.TextContent)
    return result.content[0].text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_pipeline_is_a_tool(mode: str) -> None:
    async with connected(mode=mode) as client:
        result = await call(client, "mail", mail="My card was charged twice.")
    assert not result.is_error
    assert result.structured_content == {"topic": "payment", "length": 26}


async def test_a_tool_has_the_schema_of_its_pipelines_inputs_and_output() -> None:
    async with connected() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == ["check", "render", "run", "eval", "runs_compare", "pipeline_check", "mail", "topic"]
    assert tools["mail"].description == "The topic of a mail, and its length"
    assert tools["mail"].input_schema["required"] == ["mail"]
    assert tools["mail"].input_schema["properties"]["tone"]["enum"] == ["kind", "dry"]
    assert tools["topic"].output_schema is not None
    assert tools["topic"].output_schema["properties"]["output"]["anyOf"][1] == {"type": "null"}


async def test_an_output_that_is_not_an_object_gets_a_key() -> None:
    async with connected() as client:
        assert (await call(client, "topic", mail="card")).structured_content == {"output": "payment"}


@pytest.mark.parametrize(("name", "arguments"), [("topic", {"mail": "late"}), ("run", {"target": "topic"})])
async def test_a_warning_that_the_command_line_forbids_is_an_error(
    name: str, arguments: dict[str, Any], project: Path
) -> None:
    (project / "script.yaml").write_text("otherwise: ''\n")
    (project / "pipelines/topic.yaml").write_text(
        "inputs: {mail: {example: late}}\nsteps: {topic: {prompt: Sum up.}}\n"
    )
    async with connected(strict_on=["empty_reply"]) as client:
        result = await call(client, name, **arguments)
    assert result.is_error and "empty reply" in text_of(result)


async def test_only_named_pipelines_are_offered() -> None:
    async with connected("mail") as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        other = await call(client, "topic", mail="late")
    assert names[5:] == ["mail"]
    assert other.is_error and text_of(other).startswith("error: there is no tool `topic`")


def test_a_named_pipeline_that_is_not_there_is_an_error() -> None:
    with pytest.raises(InputError, match="there is no pipeline or prompt `nail`"):
        connected("nail").__aenter__().send(None)


async def test_missing_and_unknown_inputs_are_errors_of_the_tool() -> None:
    async with connected() as client:
        missing = await call(client, "mail")
        unknown = await call(client, "mail", mail="late", male="x")
    assert missing.is_error and text_of(missing) == "error: `mail` is missing"
    assert unknown.is_error and "has no input `male`\n  hint: did you mean `mail`?" in text_of(unknown)


async def test_the_settings_of_the_command_line_count() -> None:
    sets = ("topic.answer={label: [delivery, payment, other]}",)
    async with connected("topic", sets=sets) as client:
        schema = (await client.list_tools()).tools[-1].output_schema
        assert schema is not None and schema["properties"]["output"]["anyOf"][0]["enum"][-1] == "other"
    async with connected("topic", strict_on=("no_warning",)) as client:
        for result in (await call(client, "topic", mail="late"), await call(client, "run", target="topic")):
            assert result.is_error and "`no_warning`" in text_of(result)


async def test_two_pipelines_of_one_name_in_letters_of_tools_are_one_tool(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for letter in (".", " "):
        (project / "pipelines" / f"a{letter}b.yaml").write_text("inputs: {mail: {}}\nsteps:\n  topic: {prompt: sort}\n")
    async with connected() as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert names.count("a_b") == 1
    assert "`a b` and `a.b` would both be the tool `a_b`" in capsys.readouterr().err


async def test_check_finds_a_mistake_that_was_just_made(project: Path) -> None:
    async with connected() as client:
        before = await call(client, "check")
        (project / "pipelines" / "topic.yaml").write_text("inputs: {mail: {}}\nsteps:\n  topic: {promt: sort}\n")
        after = await call(client, "check", paths=["pipelines/topic.yaml"])
    assert text_of(before) == "5 files, no problems"
    assert not after.is_error and after.structured_content is not None
    problem = after.structured_content["problems"][0]
    assert (problem["file"], problem["line"], problem["column"]) == ("pipelines/topic.yaml", 3, 11)
    assert problem["hint"] == "did you mean `prompt`?"


async def test_a_pipeline_that_was_just_broken_says_so_when_it_is_called(project: Path) -> None:
    async with connected("mail", "topic") as client:
        (project / "pipelines" / "topic.yaml").write_text("steps:\n  topic: {promt: sort}\n")
        names = [tool.name for tool in (await client.list_tools()).tools]
        result = await call(client, "topic", mail="late")
    assert names[5:] == ["mail"]
    assert result.is_error and "pipelines/topic.yaml:2:11: unknown key `promt`" in text_of(result)


async def test_an_output_that_is_too_long_is_an_error(project: Path) -> None:
    (project / "pipelines" / "topic.yaml").write_text(
        'inputs: {mail: {}}\nsteps:\n  topic: {prompt: sort}\noutput: {topic: "{{ topic }}", mail: "{{ mail }}"}\n'
    )
    async with connected() as client:
        result = await call(client, "topic", mail="x" * MAX_RESULT)
    assert result.is_error and text_of(result).startswith("error: the output has 60,0")


async def test_render_shows_the_messages() -> None:
    async with connected() as client:
        result = await call(client, "render", target="mail", inputs={"mail": "It is broken."})
    assert "Sort the mail." in text_of(result) and "It is broken." in text_of(result)
    assert result.structured_content is not None and result.structured_content["steps"][0]["step"] == "topic"


async def test_run_answers_with_the_examples_and_keeps_the_trace_back() -> None:
    async with connected() as client:
        result = await call(client, "run", target="mail")
        traced = await call(client, "run", target="mail", trace=True)
    assert result.structured_content is not None and traced.structured_content is not None
    assert result.structured_content["output"] == {"topic": "delivery", "length": 13}
    assert "trace" not in result.structured_content and traced.structured_content["trace"]


async def test_eval_reports_progress_and_compare_compares(project: Path) -> None:
    seen: list[tuple[float, float | None]] = []

    async def seen_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total))

    async with connected() as client:
        result = await client.call_tool("eval", {"suite": "sort"}, progress_callback=seen_progress)
        (project / "script.yaml").write_text("otherwise: payment\n")
        await call(client, "eval", suite="sort")
        compared = await call(client, "runs_compare", a="last", b="last~1")
    assert result.structured_content is not None
    assert (result.structured_content["run"], result.structured_content["status"]) == (1, "done")
    assert seen[-1] == (3, 3)
    assert "accuracy" in text_of(result)
    assert "run 2 against run 1" in text_of(compared) and "better" in text_of(compared)


@pytest.mark.parametrize(
    ("verb", "arguments", "says"),
    [
        ("run", {"target": "/etc/passwd"}, "`/etc/passwd` is not in the project"),
        ("render", {"target": "../other/mail.yaml"}, "`../other/mail.yaml` is not in the project"),
        ("check", {"paths": ["/etc"]}, "`/etc` is not in the project"),
        ("check", {"paths": ["/etc/passwdd"]}, "`/etc/passwdd` is not in the project\n  hint: paths are relative"),
        ("eval", {"suite": "/tmp/suite.yaml"}, "`/tmp/suite.yaml` is not in the project"),
        ("run", {"target": "mial"}, "there is no pipeline or prompt `mial`"),
        ("run", {"target": "mail", "model": "openai/m@http://127.0.0.1:9/v1"}, "cannot be chosen here"),
        ("run", {"target": "mail", "model": "scripted:/tmp/evil.py:answer"}, "cannot be chosen here"),
        ("run", {"target": "mail", "model": "ollama/m@http://127.0.0.1:9"}, "cannot be chosen here"),
        ("run", {}, "the argument `target` is missing"),
        ("run", {"target": "mail", "sets": ["topic.model=x"]}, "there is no argument `sets`"),
        ("eval", {"suite": "sort", "limit": 0}, "the argument `limit` must be greater than or equal to 1"),
        ("runs_compare", {"a": "last"}, "there is no evaluation `last`"),
        ("nothing", {}, "there is no tool `nothing`"),
    ],
)
async def test_what_is_refused_is_an_error_of_the_tool(verb: str, arguments: dict[str, Any], says: str) -> None:
    async with connected() as client:
        result = await client.call_tool(verb, arguments)
    assert result.is_error and says in text_of(result)


async def test_no_path_of_this_machine_is_shown(project: Path) -> None:
    (project / "pipelines" / "out.yaml").write_text("steps:\n  a: {prompt: ../../../x.j2}\n")
    async with connected() as client:
        result = await call(client, "check")
    assert result.structured_content is not None and result.structured_content["problems"]
    assert str(project) not in text_of(result) + str(result.structured_content)


async def test_a_cancelled_call_ends_its_run(project: Path) -> None:
    (project / "slow.py").write_text(
        "import asyncio, pathlib\nasync def answer(request):\n"
        "    pathlib.Path('asked').touch()\n    try:\n        await asyncio.sleep(60)\n"
        "    finally:\n        pathlib.Path('ended').touch()\n"
    )
    (project / "promptkit.yaml").write_text("model: scripted:slow.py:answer\n")
    async with connected() as client:
        task = asyncio.create_task(call(client, "eval", suite="sort"))
        async with asyncio.timeout(20):
            while not (project / "asked").exists():
                await asyncio.sleep(0.01)
            task.cancel()
            while not (project / "ended").exists():
                await asyncio.sleep(0.01)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not (await call(client, "check")).is_error


async def test_a_pipeline_that_fails_is_an_error_of_the_tool(project: Path) -> None:
    (project / "script.yaml").write_text("otherwise: {error: the server is tired}\n")
    async with connected() as client:
        result = await call(client, "mail", mail="late")
    assert result.is_error and "the server is tired" in text_of(result)


async def test_a_defect_is_an_error_of_the_tool(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("promptkit.server.mcp.verbs.load", broken)
    async with connected() as client:
        result = await call(client, "render", target="mail")
        assert not (await call(client, "check")).is_error
    assert result.is_error and "unexpected ZeroDivisionError" in text_of(result)


class TestBounds:
    def test_a_long_text_is_cut(self, tmp_path: Path) -> None:
        text = bounded_text("x" * (MAX_RESULT + 1), tmp_path)
        assert len(text) == MAX_RESULT and text.endswith(CUT)
        assert bounded_text("x" * MAX_RESULT, tmp_path) == "x" * MAX_RESULT

    def test_long_parts_of_an_object_are_cut_first(self, tmp_path: Path) -> None:
        found = bounded_object({"short": "a", "long": "x" * 100_000, "many": list(range(2_000))}, tmp_path)
        assert found == {"short": "a", "long": "x" * 20_000 + CUT, "many": [*range(1_000), CUT]}

    def test_what_stays_too_long_is_not_returned(self, tmp_path: Path) -> None:
        assert bounded_object({str(number): number for number in range(6_000)}, tmp_path) == {"cut": True}


async def test_an_input_that_is_left_out_has_its_default_and_not_its_example(project: Path) -> None:
    (project / "pipelines/echo.yaml").write_text(
        "inputs: {word: {default: the default, example: the example}}\n"
        "steps: {a: {pipeline: same, with: {word: '{{ word }}'}}}\n"
    )
    (project / "pipelines/same.yaml").write_text(
        "inputs: {word: {}}\nsteps: {a: {prompt: 'Say {{ word }}.'}}\noutput: '{{ word }}'\n"
    )
    async with connected("echo") as client:
        result = await call(client, "echo")
    assert text_of(result) == "the default"
