"""`render`, `check`, `models`, `init` and `schema`."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.conftest import SORT, Run
from tests.runtimes.servers.ollama_server import FakeModel, OllamaServer


def test_render_shows_the_exact_messages_and_asks_nothing(promptkit: Run) -> None:
    done = promptkit("render", "mail", "--step", "topic")
    assert done.code == 0, done.err
    assert "Sort the mail." in done.out and "The parcel came late." in done.out
    (step,) = json.loads(promptkit("render", "mail", "--step", "topic", "--json").out)["steps"]
    assert {"step", "messages", "cue", "grammar", "tokens"} <= step.keys()


def test_render_takes_what_a_step_needs_from_the_command_line(promptkit: Run) -> None:
    done = promptkit("render", "mail", "topic=payment", "--step", "reply")
    assert "Reply about payment." in done.out, done.err
    assert "topic is from the command line" in done.err and "last run" not in done.err
    promptkit("run", "mail")
    assert "topic is from the last run" in promptkit("render", "mail", "--step", "reply").err
    (step,) = json.loads(promptkit("render", "mail", "topic=payment", "--step", "reply", "--json").out)["steps"]
    assert step["assumed"] == {"topic": "command line"}


def test_check_tells_all_problems_with_their_places(promptkit: Run, project: Path) -> None:
    assert promptkit("check").code == 0
    (project / "templates/prompts/sort_mail.j2").write_text(SORT.replace("block input", "block imput"))
    (project / "templates/prompts/other.j2").write_text("{{ unknown }\n")
    done = promptkit("check", "--json")
    problems = json.loads(done.out)["problems"]
    assert done.code == 1
    assert {Path(problem["file"]).name for problem in problems} == {"sort_mail.j2", "other.j2"}
    assert all(problem["line"] for problem in problems)


def test_check_prints_each_edge_with_its_reason(promptkit: Run) -> None:
    assert "topic → reply: input topic" in promptkit("check", "mail", "--graph").out


def test_init_makes_a_project_in_which_nothing_is_wrong(promptkit: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert promptkit("init", str(folder)).code == 0
    assert promptkit("check", cwd=folder).code == 0
    again = promptkit("init", str(folder))
    assert again.code == 2
    assert again.err.count("there already") == again.err.count("nothing was written") == 1
    assert "promptkit.yaml, " in again.err


def test_an_unknown_schema_is_refused_with_the_nearest(promptkit: Run) -> None:
    done = promptkit("schema", "prmpt")
    assert done.code == 2
    assert "no schema of `prmpt`" in done.err and "did you mean `prompt`?" in done.err


def test_the_schemas_name_the_keys_of_the_formats(promptkit: Run) -> None:
    pipeline, prompt = (json.loads(promptkit("schema", of).out) for of in ("pipeline", "prompt"))
    assert {"steps", "inputs", "cases", "output"} <= pipeline["properties"].keys()
    assert "for_each" in pipeline["$defs"]["StepSpec"]["properties"]
    assert {"about", "answer", "layout"} <= prompt["properties"].keys()


@pytest.mark.parametrize(("of", "keys"), [("eval-record", {"variants", "thresholds"}), ("tune-record", {"verdict"})])
def test_the_schemas_of_records_name_the_keys_that_json_prints(promptkit: Run, of: str, keys: set[str]) -> None:
    schema = json.loads(promptkit("schema", of).out)
    assert keys | {"run", "suite", "status", "model", "notes"} <= schema["properties"].keys()


def test_models_are_listed_and_shown(promptkit: Run) -> None:
    listed = json.loads(promptkit("models", "list", "--json", OLLAMA_HOST="127.0.0.1:9").out)
    assert listed[0]["reference"] == "embedded/smollm2"
    shown = json.loads(promptkit("models", "show", "scripted:script.yaml", "--json").out)
    assert {"reference", "digest", "size", "context", "capabilities", "licence", "ready"} == shown.keys()
    assert promptkit("models", "pull", "gguf:x.gguf").code == 2


def test_an_embedded_model_that_is_not_here_is_shown_and_not_fetched(promptkit: Run, tmp_path: Path) -> None:
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "PROMPTKIT_CACHE": str(tmp_path / "cache")}
    shown = promptkit("models", "show", "embedded/qwen2.5-1.5b", **nowhere)
    assert "Apache-2.0" in shown.out and "1.1 GB" in shown.out
    assert shown.out.endswith("promptkit models pull embedded/qwen2.5-1.5b fetches it\n")
    listed = promptkit("models", "list", OLLAMA_HOST="127.0.0.1:9", **nowhere).out.splitlines()
    [line] = (line for line in listed if "bge-small" in line)
    assert line.split() == ["embedded/bge-small", "37", "MB", "embedding", "MIT", "not", "here"]
    assert listed[-1] == "fetch one: promptkit models pull NAME"
    refused = promptkit("models", "pull", "embedded/bge-small", "--from", "script.yaml", **nowhere)
    assert (refused.code, "this is not embedded/bge-small" in refused.err) == (2, True)


def test_pulling_from_ollama_shows_each_stage_and_tells_of_a_name_it_does_not_know(promptkit: Run) -> None:
    with OllamaServer(pullable="new") as server:
        pulled = promptkit("models", "pull", "ollama/new", OLLAMA_HOST=server.url)
        refused = promptkit("models", "pull", "ollama/nope", OLLAMA_HOST=server.url)

    said = pulled.err.splitlines()
    assert (pulled.code, said[0], said[-1]) == (0, "pulling manifest", "ollama/new is here")
    assert "fetched new, b179c9523d0e" in said
    assert refused.code == 3
    assert "file does not exist" in refused.err


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 3), (None, 3)], ids=["yes", "no", "no terminal"])
def test_a_run_on_a_model_that_ollama_lacks_offers_to_fetch_it_and_goes_on(
    promptkit: Run, monkeypatch: pytest.MonkeyPatch, answer: bool | None, code: int
) -> None:
    questions: list[str] = []

    def ask_person(question: str) -> bool | None:
        questions.append(question)
        return answer

    monkeypatch.setattr("promptkit.reports.progress.ask_person", ask_person)
    with OllamaServer(pullable="new") as server:
        shown = promptkit("models", "show", "ollama/new", OLLAMA_HOST=server.url)

    assert (shown.code, questions) == (code, ["Ollama has no model `new`; fetch it?"])
    if answer:
        assert "fetched new, b179c9523d0e" in shown.err
        assert "reference     ollama/new" in shown.out
    else:
        assert shown.err == "error: Ollama has no model `new`\n  hint: promptkit models pull ollama/new\n"


def test_a_list_shows_size_parameters_window_capabilities_and_what_ollama_has_loaded(promptkit: Run) -> None:
    capable = ("completion", "tools", "thinking", "vision")
    models = (
        FakeModel("big", capabilities=capable, parameters="8.2B"),
        FakeModel("vectors", capabilities=("embedding",)),
    )
    with OllamaServer(*models) as server:
        assert promptkit("models", "show", "ollama/big", OLLAMA_HOST=server.url).code == 0
        text = promptkit("models", "list", OLLAMA_HOST=server.url).out
        listed = json.loads(promptkit("models", "list", "--json", OLLAMA_HOST=server.url).out)

    big, vectors = (line for line in text.splitlines() if line.startswith("ollama/"))
    assert re.fullmatch(
        r"ollama/big:latest +98 MB +8.2B Q4_1 +8192 tokens +tools thinking vision"
        r" +loaded until \d\d:\d\d, 4096 tokens",
        big,
    )
    assert vectors.split() == [
        "ollama/vectors:latest",
        "98",
        "MB",
        "134.52M",
        "Q4_1",
        "8192",
        "tokens",
        "embedding",
        "ready",
    ]
    assert (listed[-2]["parameters"], listed[-2]["quantization"]) == ("8.2B", "Q4_1")
    assert (listed[-2]["reported"], listed[-2]["loaded_context"]) == (list(capable), 4096)
    assert datetime.fromisoformat(listed[-2]["loaded_until"]) > datetime.now(UTC)
    assert listed[-1]["loaded_until"] is None


def test_a_trace_shows_the_window_of_each_request_also_when_it_is_shown_later(promptkit: Run) -> None:
    with OllamaServer(FakeModel("tiny", answers=["payment", "Thank you."] * 3)) as server:
        run = promptkit("run", "mail", "--trace", "--model", "ollama/tiny", OLLAMA_HOST=server.url)
    assert "window of 4096 tokens" in run.err + run.out
    assert "window of 4096 tokens" in promptkit("runs", "show", "last").out
