"""Preparing and comparing techniques against a server that is slow, stopped or failing: nothing answered is lost."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.journeys.project import finish, make_project, start
from tests.journeys.test_death import WORDS, asked, slow, wait_for
from tests.runtimes.servers.ollama_server import Answer, FakeModel, OllamaServer

MINE = """\
from promptkit.techniques import Answer, Prepared, Task, technique


async def prepare(task, rows):
    replies = await task.each(lambda row: task.on(row).ask("answer"), rows)
    return Prepared(items=[{"input": row.inputs, "output": reply.text} for row, reply in zip(rows, replies)])


@technique(needs=["rows"], prepare=prepare)
async def mine(task: Task) -> Answer:
    return await task.decide(await task.showing(task.artifact.items).ask("answer"))
"""
ANSWER = "---\nproduces: answer\n---\n{% extends prompt %}\n"


def make(folder: Path) -> Path:
    """Return a project whose technique `mine` is prepared with one request a row."""
    make_project(folder)
    (folder / "techniques").mkdir()
    (folder / "techniques" / "mine.py").write_text(MINE)
    (folder / "templates" / "techniques" / "mine").mkdir(parents=True)
    (folder / "templates" / "techniques" / "mine" / "answer.j2").write_text(ANSWER)
    rows = [json.dumps({"word": word, "expect": word.upper()}) for word in WORDS]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    return folder


def test_a_preparation_that_is_interrupted_asks_only_for_what_is_missing_when_it_is_run_again(tmp_path: Path) -> None:
    folder = make(tmp_path)
    artifact = folder / "pipelines" / "shout.shouts.mine.yaml"
    with OllamaServer(FakeModel("tiny", respond=slow)) as server:
        arguments = ["techniques", "prepare", "mine", "shout", "--data", "rows.jsonl", "--model", "ollama/tiny"]
        victim = start(folder, server.url, *arguments)
        wait_for(server, 6)
        victim.send_signal(signal.SIGINT)
        _, said = victim.communicate(timeout=30)
        before = len(asked(server))
        written = artifact.exists()

        again = finish(folder, server.url, *arguments)

        assert (victim.returncode, written) == (130, False)
        assert "what was answered is kept" in said
        assert "Traceback" not in said
        assert again.code == 0, again.err
        assert len(asked(server)) - before < len(WORDS)
        assert all(word.upper() in artifact.read_text() for word in WORDS)


def test_rows_that_a_server_fails_on_are_missing_until_the_same_command_fills_them(tmp_path: Path) -> None:
    folder = make(tmp_path)
    tired = True

    async def respond(prompt: str, body: dict[str, Any]) -> Answer:
        word = next((word for word in WORDS if word in prompt), "none")
        return Answer(word.upper(), fails="no more today" if tired and word == WORDS[3] else "")

    arguments = ["techniques", "compare", "shout", "--techniques", "vanilla", "--data", "rows.jsonl", "--model"]
    with OllamaServer(FakeModel("tiny", respond=respond)) as server:
        failed = finish(folder, server.url, *arguments, "ollama/tiny")
        asked_before, tired = len(asked(server)), False
        filled = finish(folder, server.url, *arguments, "ollama/tiny")

        assert failed.code == 3, failed.err
        assert "11 of 12 rows" in failed.out
        assert "1 of 12 rows of vanilla have no answer" in failed.err
        assert filled.code == 0, filled.err
        assert "12/12" in filled.out
        assert len(asked(server)) - asked_before == 1
    evidence = (folder / ".promptkit" / "techniques.jsonl").read_text().splitlines()
    assert [json.loads(line)["n"] for line in evidence] == [12]


def test_a_comparison_that_is_interrupted_shows_its_numbers_and_is_resumed(tmp_path: Path) -> None:
    folder = make(tmp_path)
    arguments = ["techniques", "compare", "shout", "--techniques", "vanilla,chain_of_thought", "--data", "rows.jsonl"]
    arguments += ["--model", "ollama/tiny"]
    with OllamaServer(FakeModel("tiny", respond=slow)) as server:
        victim = start(folder, server.url, *arguments)
        wait_for(server, 12)
        victim.send_signal(signal.SIGINT)
        _, stderr = victim.communicate(timeout=30)
        before = len(asked(server))

        again = finish(folder, server.url, *arguments)

        assert victim.returncode == 130
        assert "vanilla" in stderr and "of 12 rows" in stderr and "Traceback" not in stderr
        assert again.code == 0, again.err
        assert len(asked(server)) - before < 3 * len(WORDS)
    listed = finish(folder, server.url, "runs", "list").out
    assert "interrupted" in listed and "done" in listed
