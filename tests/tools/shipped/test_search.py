"""The tool `search`: what it finds by words and by vectors, how a source is read on, and which files it takes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, ToolFailed
from promptkit.project import Project
from promptkit.project_code.file_reads import collecting_reads
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from promptkit.tools.shipped.search import SearchTool, _fused

LEAVE = "# Leave\n\nEvery employee has thirty days of vacation.\n\nSickness is reported by nine.\n"
PARKING = "Cars are left in the garage. A bicycle stands in the yard."
MEANINGS = {"vacation": (1.0, 0.0), "holidays": (1.0, 0.0), "garage": (0.0, 1.0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder with a handbook of two documents."""
    handbook = tmp_path / "project" / "handbook"
    (handbook / "more").mkdir(parents=True)
    (handbook / "leave.md").write_text(LEAVE)
    (handbook / "more" / "parking.txt").write_text(PARKING)
    return tmp_path / "project"


def tool_of(settings: Any, folder: Path) -> SearchTool:
    return SearchTool.of("docs", settings, folder, Project(folder))


async def sources(tool: SearchTool, query: str, **further: Any) -> list[str]:
    found = await tool.call({"query": query, **further})
    return [passage["source"] for passage in found["passages"]]


async def test_passages_come_with_rank_source_and_line(folder: Path) -> None:
    tool = tool_of("handbook/", folder)
    found = await tool.call({"query": "Where does a bicycle stand?"})
    assert found == {"passages": [{"rank": 1, "source": "more/parking.txt", "line": 1, "text": PARKING}]}
    assert "leave.md, more/parking.txt." in tool.description
    assert tool.files == (folder / "handbook/leave.md", folder / "handbook/more/parking.txt")
    assert tool.identity["documents"]["leave.md"] == "handbook/leave.md"


async def test_no_passage_gives_the_advice_to_ask_in_other_words(folder: Path) -> None:
    found = await tool_of("handbook/", folder).call({"query": "xylophone"})
    assert found["passages"] == [] and "try other words" in found["note"]


async def test_as_many_passages_come_as_are_asked_for(folder: Path) -> None:
    for number in range(12):
        (folder / "handbook" / f"{number:02}.txt").write_text("same words")
    tool = tool_of("handbook", folder)
    assert len(await sources(tool, "same words")) == 5
    assert await sources(tool, "same words", count=2) == ["00.txt", "01.txt"]


async def test_files_and_folders_can_be_searched_together(folder: Path) -> None:
    (folder / "leave.md").write_text("Parental leave.")
    (folder / "rows.jsonl").write_text('{"text": "Vacation in rows."}\n{"text": "Other", "source": "x"}\n')
    tool = tool_of(["handbook/", "leave.md", "rows.jsonl"], folder)
    assert await sources(tool, "parental") == ["leave.md/leave.md"]
    assert await sources(tool, "rows") == ["rows.jsonl:1"]


async def test_a_source_is_read_on_from_a_line(folder: Path) -> None:
    sections = [f"## Section {n}\n\n" + f"Sentence of section {n} with some words. " * 12 for n in range(20)]
    (folder / "handbook" / "long.md").write_text("\n\n".join(sections))
    tool = tool_of("handbook/", folder)
    (found,) = (await tool.call({"query": "7", "count": 1}))["passages"]
    assert found["line"] == 29 and found["text"].startswith("## Section 7")
    read = await tool.call({"source": "long.md", "from": 31})
    assert read["line"] == 29 and read["text"].startswith("## Section 7\n")
    assert "## Section 13" in read["text"] and len(read["text"]) <= 4_000
    after = await tool.call({"source": "long.md", "from": read["next"]})
    assert after["line"] == read["next"] and after["text"].startswith("## Section 15")
    last = await tool.call({"source": "long.md", "from": 10_000})
    assert last["text"].startswith("## Section 19") and "next" not in last
    assert (await tool.call({"source": "leave.md"}))["text"] == LEAVE.strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give a `query`"),
        ({"query": "  "}, "give a `query`"),
        ({"source": "leav.md"}, r"no source `leav.md`; did you mean `leave.md`\?"),
        ({"source": "../secret.txt"}, "no source"),
        ({"source": "/etc/passwd"}, "no source"),
    ],
)
async def test_a_call_without_a_query_or_a_known_source_fails(
    arguments: dict[str, Any], message: str, folder: Path
) -> None:
    with pytest.raises(ToolFailed, match=message):
        await tool_of("handbook/", folder).call(arguments)


class Embedder(Scripted):
    """A model that makes vectors by the words of MEANINGS, and counts the texts that it was given."""

    def __init__(self) -> None:
        super().__init__(["no"], embedder=self._vector)
        self.texts: list[str] = []

    def _vector(self, text: str) -> list[float]:
        self.texts.append(text)
        vectors = [vector for word, vector in MEANINGS.items() if word in text] or [(0.1, 0.1)]
        return [sum(numbers) for numbers in zip(*vectors, strict=True)]


async def test_vectors_find_what_shares_no_word_and_are_fused_with_words(folder: Path) -> None:
    client = Client(Embedder())

    async def client_of(reference: str) -> Client:
        assert reference == "embedded/some"
        return client

    tool = tool_of({"documents": "handbook/", "model": "embedded/some"}, folder)
    assert tool.identity["model"] == "embedded/some"
    assert await sources(tool.bound(client_of), "holidays") == ["leave.md", "more/parking.txt"]
    # Words and vectors agree on neither alone: a passage that both know comes first.
    assert await sources(tool.bound(client_of), "holidays yard garage") == ["more/parking.txt", "leave.md"]
    with pytest.raises(ToolFailed, match="cannot be asked here"):
        await tool.call({"query": "holidays"})


async def test_documents_are_embedded_once_for_all_calls_and_runs(folder: Path, tmp_path: Path) -> None:
    for run in range(2):
        embedder = Embedder()
        with Store.open(tmp_path / "store") as store:
            client = Client(embedder, store=store)

            async def client_of(_: str, client: Client = client) -> Client:
                return client

            tool = tool_of({"documents": "handbook/", "model": "embedded/some"}, folder).bound(client_of)
            await asyncio.gather(*(sources(tool, f"query {run}.{number}") for number in range(3)))
        # The two documents in the first run, and the three queries in each.
        assert len(embedder.texts) == (5 if run == 0 else 3)


async def test_a_changed_document_is_found_as_it_is_and_noted(folder: Path) -> None:
    tool = tool_of("handbook/", folder)
    assert await sources(tool, "sabbatical") == []
    (folder / "handbook" / "leave.md").write_text("A sabbatical takes a year.")
    with collecting_reads() as reads:
        assert await sources(tool, "sabbatical") == ["leave.md"]
    assert str(folder / "handbook/leave.md") in reads.digests
    (folder / "handbook" / "leave.md").unlink()
    with pytest.raises(ToolFailed, match="a document cannot be read: No such file"):
        await tool.call({"query": "sabbatical"})


def test_a_folder_that_is_there_from_the_root_is_named_as_the_file_must_write_it(folder: Path) -> None:
    (folder / "promptkit.yaml").touch()
    (folder / "handbook").mkdir(exist_ok=True)
    (folder / "pipelines").mkdir()
    with pytest.raises(InputError) as caught:
        SearchTool.of("docs", "handbook", folder / "pipelines", Project.find(folder))
    assert caught.value.problems[0].hint == "did you mean `../handbook`?"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (None, "needs the documents.*\n.*search: handbook/"),
        ([], "needs the documents"),
        (3, "needs the documents"),
        ({"model": "embedded/bge-small"}, "needs the documents"),
        ({"document": "handbook/"}, "no setting `document`.*\n.*did you mean `documents`"),
        ({"documents": "handbook/", "model": 3}, "reference of an embedding model"),
        ("handbok/", "there is no folder `handbok/`"),
        ("leave.pdf", "there is no folder `leave.pdf`"),
        ("scan.pdf", "`scan.pdf` is not a document.*\n.*end in .txt, .md, .jsonl"),
        ("empty/", "the folder `empty/` has no documents"),
        ("blank.txt", "hold no text"),
        ("wrong.txt", "`wrong.txt` line 2: not UTF-8"),
        ("wrong.jsonl", "`wrong.jsonl`: row 1 must have a `text`"),
        ("pipe.txt", "named pipe"),
        ("../outside", "outside of the project"),
        ("linked", "outside of the project"),
        ("links", "`out.txt` of `links` is a link that leads out of the project"),
    ],
)
def test_wrong_settings_and_documents_are_said_before_a_run(settings: Any, message: str, folder: Path) -> None:
    outside = folder.parent / "outside"
    for path in (outside, folder / "empty", folder / "links"):
        path.mkdir()
    (outside / "secret.txt").write_text("swordfish")
    (folder / "linked").symlink_to(outside)
    (folder / "links" / "out.txt").symlink_to(outside / "secret.txt")
    (folder / "blank.txt").write_text(" \n")
    (folder / "scan.pdf").write_bytes(b"%PDF")
    (folder / "wrong.txt").write_bytes(b"fine\n\xff")
    (folder / "wrong.jsonl").write_text('{"body": "x"}\n')
    os.mkfifo(folder / "pipe.txt")
    with pytest.raises(InputError, match=message):
        tool_of(settings, folder)


async def test_a_document_that_became_a_link_is_not_read(folder: Path) -> None:
    (folder.parent / "secret.txt").write_text("swordfish")
    tool = tool_of("handbook/", folder)
    (folder / "handbook" / "leave.md").unlink()
    (folder / "handbook" / "leave.md").symlink_to(folder.parent / "secret.txt")
    with pytest.raises(ToolFailed, match="now a link to another file"):
        await tool.call({"query": "swordfish"})


async def test_a_huge_word_is_cut(folder: Path) -> None:
    (folder / "handbook" / "huge.txt").write_text("vacationplan " + "x" * 1_000_000)
    (found,) = (await tool_of("handbook/huge.txt", folder).call({"query": "vacationplan"}))["passages"]
    assert len(found["text"]) == 2_001
    read = await tool_of("handbook/huge.txt", folder).call({"source": "huge.txt"})
    assert len(read["text"]) == 4_000


def test_names_of_documents_have_no_control_characters_in_the_description(folder: Path) -> None:
    (folder / "handbook" / "a\x1b[31m.txt").write_text("x")
    description = tool_of("handbook/", folder).description
    assert "\x1b" not in description


@pytest.mark.parametrize(
    ("rankings", "fused"),
    [
        (([7, 8], [8, 9]), [8, 7, 9]),
        (([1, 2], [2, 1]), [1, 2]),
        (([5], []), [5]),
        # Ranks 1 and 50 give 1/61 + 1/110, more than twice 1/80, but less than twice 1/78.
        (([0, *range(100, 118), 1], [*range(200, 219), 1, *range(300, 329), 0]), [0, 1]),
        (([0, *range(100, 116), 1], [*range(200, 217), 1, *range(300, 331), 0]), [1, 0]),
    ],
)
def test_rankings_are_fused_by_reciprocal_rank(rankings: tuple[list[int], list[int]], fused: list[int]) -> None:
    assert [place for place in _fused(*rankings) if place in fused] == fused
