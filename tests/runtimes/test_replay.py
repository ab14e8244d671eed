"""A run written down, and answered again from what was written."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from io import FileIO
from pathlib import Path

import pytest

from promptkit.errors import InputError, NotRecorded, RequestRefused, StoreFailed
from promptkit.runtimes.base import FunctionCall, Message, Reply, Request, Token, ToolDefinition
from promptkit.runtimes.client import Client
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.runtimes.models import Models
from promptkit.runtimes.replay import Recorder, Replay
from promptkit.runtimes.scripted import Scripted

HELLO = Request(messages=(Message("user", "Name a colour.\nOne word."),), begun="Colour:")


async def record(path: Path, runtime: Scripted, *requests: Request, name: str | None = None) -> list[Reply]:
    recorder = Recorder(path)
    try:
        client = Client(runtime, recorder=recorder, name=name)
        return [await client.ask(request) for request in requests]
    finally:
        recorder.close()


async def test_a_recorded_run_answers_identically(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    odd = Reply(text="\ud800 \x1b[31m rot", thoughts="hm", tokens=(Token(b"\xff", -1.5),), seconds=1.25)
    kept = await record(path, Scripted(["blue", odd]), HELLO, replace(HELLO, sample="0/1"))
    replay = Replay(path)
    assert [await replay.answer(HELLO), await replay.answer(replace(HELLO, sample="0/1"))] == kept


async def test_the_recorded_model_is_described_as_it_was_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    runtime = Scripted(["blue"], context=2048, reference="ollama/a", digest="d")
    await record(path, runtime, HELLO)
    model = await Replay(path).model()
    assert replace(model, notes=()) == await runtime.model()
    assert "run.jsonl" in model.notes[0]


async def test_tokens_templates_and_vectors_are_recorded_too(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    recorder = Recorder(path)
    client = Client(Scripted([], embedder=lambda text: [0.5, float(len(text))]), recorder=recorder)
    said = (
        await client.tokenize("a bc"),
        await client.template(HELLO.messages, "Colour:"),
        await client.embed(["a", "bc"]),
    )
    recorder.close()
    replay = Client(Replay(path))
    assert await replay.tokenize("a bc") == said[0]
    assert await replay.template(HELLO.messages, "Colour:") == said[1]
    assert await replay.embed(["bc", "a"]) == said[2][::-1]
    assert await replay.tokenize("other") is None
    assert await replay.template(HELLO.messages) is None
    with pytest.raises(NotRecorded, match="vector"):
        await replay.embed(["other"])


LOOK = ToolDefinition(name="look", description="Looks it up.", parameters={"type": "object"})
CALL = FunctionCall(id="a", name="look", arguments='{"q": "tea"}')


async def test_calls_of_tools_are_recorded_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    runtime = Scripted([Reply(text="", calls=(CALL,)), "green"], capabilities={"chat", "function_calls", "template"})
    asked = Request(messages=HELLO.messages, tools=(LOOK,))
    after = replace(
        asked, messages=(*asked.messages, Message("assistant", "", (CALL,)), Message("tool", "tea", (), "a"))
    )
    recorder = Recorder(path)
    client = Client(runtime, recorder=recorder)
    given = [await client.ask(request) for request in (asked, after)]
    shown = await client.template(after.messages, "", after.tools)
    recorder.close()
    replay = Client(Replay(path))
    assert [(await replay.ask(request)).calls for request in (asked, after)] == [reply.calls for reply in given]
    assert await replay.template(after.messages, "", after.tools) == shown
    assert await replay.template(after.messages) is None
    other = replace(after, messages=(*after.messages[:1], Message("assistant", "", (replace(CALL, name="see"),))))
    with pytest.raises(NotRecorded, match='"name":"see"'):
        await replay.ask(other)


async def test_a_changed_prompt_is_said_with_its_difference_from_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    far = Request(messages=(Message("user", "Translate the following contract into French."),))
    await record(path, Scripted(["blue", "non"]), HELLO, far)
    changed = replace(HELLO, messages=(Message("user", "Name a flavour.\nOne word."),), temperature=0.5)
    with pytest.raises(NotRecorded) as caught:
        await Replay(path).answer(changed)
    lines = caught.value.message.splitlines()
    assert "-Name a colour." in lines
    assert "+Name a flavour." in lines
    assert "+temperature: 0.5" in lines
    assert " One word." in lines
    assert "--record" in (caught.value.hint or "")


async def test_a_difference_is_not_longer_than_a_page(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    await record(path, Scripted(["a"]), Request(prompt="\n".join(f"a{n}" for n in range(500))))
    with pytest.raises(NotRecorded) as caught:
        await Replay(path).answer(Request(prompt="\n".join(f"b{n}" for n in range(500))))
    assert len(caught.value.message.splitlines()) < 50


async def test_recording_again_adds_only_what_changed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    await record(path, Scripted(["blue"]), HELLO)
    before = path.read_bytes()
    await record(path, Scripted(["blue"]), HELLO)
    assert path.read_bytes() == before
    await record(path, Scripted(["red"]), HELLO)
    assert path.read_bytes().startswith(before)
    assert (await Replay(path).answer(HELLO)).text == "red"


async def test_an_answer_that_took_another_time_is_not_recorded_again(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    for seconds, first in ((1.5, 0.5), (2.5, 1.0)):
        await record(path, Scripted([Reply(text="blue", seconds=seconds, first_token=first)]), HELLO)
    assert len([line for line in path.read_text("utf-8").splitlines() if "blue" in line]) == 1
    assert (await Replay(path).answer(HELLO)).first_token == 0.5


async def test_half_a_last_line_is_passed_over_and_cut_off_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    await record(path, Scripted(["blue"]), HELLO)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"request": {"mess')
    assert (await Replay(path).answer(HELLO)).text == "blue"
    await record(path, Scripted(["blue"]), HELLO)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("length", range(0, 40, 5))
async def test_a_run_that_died_while_it_began_its_recording_is_begun_again(tmp_path: Path, length: int) -> None:
    path = tmp_path / "run.jsonl"
    await record(path, Scripted(["blue"]), HELLO)
    first_line = path.read_bytes().split(b"\n")[0]
    path.write_bytes(first_line[:length])
    await record(path, Scripted(["blue"]), HELLO)
    assert (await Replay(path).answer(HELLO)).text == "blue"


@pytest.mark.parametrize(
    "content", [b"a letter to my aunt\n", b"no newline", b"\xff\xfe", b'{"promptkit":"recording"}\n']
)
def test_a_file_that_is_something_else_is_not_written_to(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a recording"):
        Recorder(path)
    assert path.read_bytes() == content


async def test_every_line_that_is_wrong_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    await record(path, Scripted(["blue"]), HELLO)
    deep = b"[" * 100_000
    path.write_bytes(path.read_bytes() + b'{"request": \n{"colour": 1, "answer": 2}\n[]\n' + deep + b"\n")
    with pytest.raises(InputError) as caught:
        Replay(path)
    assert [problem.line for problem in caught.value.problems] == [4, 5, 6, 7]


@pytest.mark.parametrize("answer", ["5", "[]", "null", '{"colour": 1}', '{"text": "a", "tokens": [5]}'])
async def test_an_answer_that_is_none_is_said_with_its_line(tmp_path: Path, answer: str) -> None:
    path = tmp_path / "run.jsonl"
    await record(path, Scripted(["blue"]), HELLO)
    lines = path.read_text().splitlines()
    start, _, _ = lines[2].partition('"answer":')
    path.write_text("\n".join([*lines[:2], start + f'"answer":{answer}}}', ""]))
    with pytest.raises(InputError) as caught:
        await Replay(path).answer(HELLO)
    assert caught.value.problems[0].line == 3


def test_a_recording_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        Recorder(tmp_path / "missing" / "run.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        Recorder(tmp_path)


@pytest.mark.attack("disk")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_full_disk_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "run.jsonl")
    with closing(recorder), FileIO("/dev/full", "w") as full:
        monkeypatch.setattr(recorder._file, "write", full.write)
        with pytest.raises(StoreFailed, match=r"run\.jsonl: No space left"):
            await Client(Scripted(["blue"]), recorder=recorder).ask(HELLO)


@pytest.mark.attack("path")
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_device_is_not_recorded_to() -> None:
    with pytest.raises(InputError, match="/dev/zero"):
        Recorder(Path("/dev/zero"))


async def test_each_model_of_a_run_is_replayed_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    (tmp_path / "one.yaml").write_text("{model: one, otherwise: from one}")
    (tmp_path / "judge.yaml").write_text("{model: judge, otherwise: from the judge}")
    recorder = Recorder(path)
    async with Models("scripted:one.yaml", recorder=recorder, base=tmp_path) as models:
        for reference in ("scripted:judge.yaml", None):
            await (await models.get(reference)).ask(HELLO)
    recorder.close()
    async with Models(f"replay:{path}", why="--model") as models:
        default, judge = await models.get(), await models.get("scripted:judge.yaml")
        assert [(await each.ask(HELLO)).text for each in (default, judge)] == ["from one", "from the judge"]
        assert [(await each.model()).reference for each in (default, judge)] == ["one", "judge"]


async def test_the_only_model_of_a_recording_stands_for_any(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    await record(path, Scripted(["blue"]), HELLO, name="ollama/a")
    assert (await Replay(path).answer(HELLO)).text == "blue"
    assert (await Replay(path, of="ollama/b").answer(HELLO)).text == "blue"


async def test_a_model_that_was_not_recorded_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    await record(path, Scripted(["blue"]), HELLO, name="ollama/a")
    await record(path, Scripted(["blue"]), HELLO, name="ollama/b")
    with pytest.raises(NotRecorded, match="default model"):
        await Replay(path).model()


async def test_failures_are_not_recorded_and_an_empty_recording_says_so(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with pytest.raises(RequestRefused):
        await record(path, Scripted([]), HELLO)
    with pytest.raises(NotRecorded, match="none to any other"):
        await Replay(path).answer(HELLO)


@pytest.mark.attack("key")
async def test_a_key_in_the_environment_is_not_in_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-secret")
    path = tmp_path / "run.jsonl"
    await record(path, Scripted(["blue"]), HELLO)
    assert b"planted" not in path.read_bytes()


async def test_text_is_readable_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    await record(path, Scripted(["crème"]), HELLO)
    assert "crème" in path.read_text("utf-8")
    assert len(path.read_text("utf-8").splitlines()) == 3
    assert os.stat(path).st_mode & 0o111 == 0


async def test_a_real_models_answers_replay_identically(tmp_path: Path, embedded: Embedded) -> None:
    path = tmp_path / "run.jsonl"
    grammar = 'root ::= " blue" | " red"'
    asked = [
        replace(HELLO, max_tokens=4, alternatives=3),
        replace(HELLO, max_tokens=4, grammar=grammar),
        Request(prompt="The sky is", max_tokens=2),
    ]
    recorder = Recorder(path)
    live = Client(embedded, recorder=recorder)
    replies = [await live.ask(request) for request in asked]
    tokens = await live.tokenize("naïve 🙂")
    text = await live.template(HELLO.messages, HELLO.begun)
    recorder.close()
    replay = Client(Replay(path))
    told: list[str] = []
    assert [await replay.ask(request, told.append) for request in asked] == replies
    assert "".join(told) == "".join(reply.text for reply in replies)
    assert (await replay.tokenize("naïve 🙂"), await replay.template(HELLO.messages, HELLO.begun)) == (tokens, text)
