"""A project's root, settings and the order in which a name is looked up."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit import project as module
from promptkit.errors import InputError
from promptkit.project import FileKind, Project
from promptkit.storage.files import frozen_files


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-in for the shipped files."""
    folder = tmp_path / "library"
    monkeypatch.setattr(module, "LIBRARY", folder)
    write(folder, "templates/prompts/shipped.j2", "templates/prompts/sections.j2", "templates/layouts/xml.j2")
    write(folder, "pipelines/feedback.yaml", "templates/techniques/vanilla/technique.yaml")
    return folder


@pytest.fixture
def root(tmp_path: Path, library: Path) -> Path:
    folder = tmp_path / "project"
    write(folder, "promptkit.yaml", "templates/prompts/mine.j2", "pipelines/chain.yaml", "pipelines/beside.j2")
    return folder


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")


def test_the_root_is_the_nearest_parent_with_settings(root: Path) -> None:
    assert Project.find(root / "pipelines" / "chain.yaml").root == root
    write(root, "inner/promptkit.yaml", "inner/deep/x.yaml")
    assert Project.find(root / "inner" / "deep").root == root / "inner"


def test_without_settings_the_root_is_the_folder_of_the_target(tmp_path: Path) -> None:
    write(tmp_path, "a/x.yaml")
    assert Project.find(tmp_path / "a" / "x.yaml").root == tmp_path / "a"
    assert Project.find(tmp_path / "a").settings.model is None


def test_settings_are_read_and_mistakes_in_them_named(root: Path) -> None:
    (root / "promptkit.yaml").write_text(
        "model: ollama/x\nconcurrency: 3\ncache: {size: 10}\ntrusted_modules: [ours.prompts]\n"
    )
    settings = Project.find(root).settings
    assert (settings.model, settings.concurrency, settings.cache.size) == ("ollama/x", 3, 10)
    assert settings.trusted_modules == ["ours.prompts"]
    (root / "promptkit.yaml").write_text("modle: x\nconcurrency: 0\ntrusted_modules: ['tools.py:']\n")
    with pytest.raises(InputError) as caught:
        Project.find(root)
    assert [problem.line for problem in caught.value.problems] == [1, 2, 3]
    assert caught.value.problems[0].hint == "did you mean `model`?"


def test_a_name_is_looked_up_beside_then_in_the_root_then_among_the_shipped(root: Path, library: Path) -> None:
    project = Project.find(root)
    chain = root / "pipelines" / "chain.yaml"
    assert project.find_prompt("beside", chain) == root / "pipelines" / "beside.j2"
    assert project.find_prompt("beside") is None
    assert project.find_prompt("mine", chain) == root / "templates" / "prompts" / "mine.j2"
    assert project.find_prompt("mine.j2") == root / "templates" / "prompts" / "mine.j2"
    assert project.find_prompt("shipped", chain) == library / "templates" / "prompts" / "shipped.j2"
    assert project.find_pipeline("feedback") == library / "pipelines" / "feedback.yaml"
    assert project.find_template("layouts", "xml") == library / "templates" / "layouts" / "xml.j2"
    assert project.find_template("techniques", "vanilla") == library / "templates" / "techniques" / "vanilla"
    write(root, "templates/prompts/shipped.j2")
    assert project.find_prompt("shipped") == root / "templates" / "prompts" / "shipped.j2"


def test_a_path_is_relative_to_the_file_that_names_it(root: Path) -> None:
    project = Project.find(root)
    chain = root / "pipelines" / "chain.yaml"
    assert project.find_prompt("./beside.j2", chain) == root / "pipelines" / "beside.j2"
    assert project.find_prompt("./beside", chain) == root / "pipelines" / "beside.j2"
    assert project.find_prompt("../templates/prompts/mine.j2", chain) == root / "templates" / "prompts" / "mine.j2"
    assert project.find_prompt("./mine.j2", chain) is None


@pytest.mark.attack("path")
@pytest.mark.parametrize("name", ["../../secret.j2", "/etc/passwd", "./link.j2", "./folder/secret.j2"])
def test_a_path_does_not_leave_the_root(root: Path, name: str) -> None:
    write(root.parent, "secret.j2")
    (root / "pipelines" / "link.j2").symlink_to(root.parent / "secret.j2")
    (root / "pipelines" / "folder").symlink_to(root.parent)
    with pytest.raises(InputError, match="leaves the project"):
        Project.find(root).find_prompt(name, root / "pipelines" / "chain.yaml")


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "x" * 5000, "é", "nothing"])
def test_what_names_nothing_is_not_found(root: Path, name: str) -> None:
    project = Project.find(root)
    assert project.find_prompt(name) is None
    with pytest.raises(InputError):
        project.target(name)


def test_all_names_of_a_kind_are_listed(root: Path) -> None:
    project = Project.find(root)
    assert project.names("prompts") == ["mine", "shipped"]
    assert project.names("pipelines") == ["chain", "feedback"]
    assert project.names("layouts") == ["xml"]
    assert project.names("techniques") == ["vanilla"]
    assert project.names("answers") == []


@pytest.mark.attack("path")
@pytest.mark.parametrize("name", ["./loop", "loop"])
def test_links_in_a_circle_are_named(root: Path, name: str) -> None:
    loop = root / "pipelines" / "loop.yaml"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match="it is a symlink that leads back to itself"):
        Project.find(root).find_pipeline(name, beside=loop.parent)


def test_a_target_is_a_path_a_pipeline_or_a_prompt(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    project = Project.find(root)
    assert project.target("pipelines/chain.yaml") == root / "pipelines" / "chain.yaml"
    assert project.target("chain") == root / "pipelines" / "chain.yaml"
    assert project.target("mine") == root / "templates" / "prompts" / "mine.j2"
    with pytest.raises(InputError, match="did you mean `feedback`"):
        project.target("feedbak")


def test_the_store_lies_in_the_root_but_never_in_the_installed_package(root: Path) -> None:
    assert Project.find(root).store_folder == root / ".promptkit"
    package = Path(module.__file__).parent
    assert not Project(package / "library").store_folder.is_relative_to(package)


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ("{}", "12: `srv`: has either a `command` that starts the server, or the `url` at which it runs"),
        ("{command: [a], url: 'http://a/mcp'}", "12: `srv`: has either a `command` that starts the server"),
        ("{command: a}", "22: `command`: must be a list, not `a`"),
        ("{command: ['']}", "23: `command`: a word of a command must not be empty"),
        ("{url: 'file:///etc/passwd'}", "18: `url`: must be an address such as `http://HOST:PORT/mcp`"),
        ("{url: 'http://user:word@a/mcp'}", "18: `url`: must hold no name and password"),
        ("{url: 'http://a/mcp', env: {A: b}}", "12: `srv`: `env` is for a server that is started by a `command`"),
        ("{command: [a], headers: {A: b}}", "12: `srv`: `headers` are for a server with a `url`"),
        (
            "{url: 'http://a/mcp', headers: {authorization: Bearer abc}}",
            "12: `srv`: `authorization` is a secret: name an",
        ),
        ("{command: [a], timeout: 0}", "36: `timeout`: must be greater than 0, not `0`"),
        ("{command: [a], timout: 3}", "27: unknown key `timout`\n  hint: did you mean `timeout`?"),
    ],
)
def test_mistakes_in_a_server_are_named_at_their_place(server: str, says: str, root: Path) -> None:
    (root / "promptkit.yaml").write_text(f"mcp: {{srv: {server}}}\n")
    with pytest.raises(InputError) as wrong:
        Project.find(root)
    assert f":1:{says}" in str(wrong.value)


def test_the_name_of_a_server_is_short_and_plain(root: Path) -> None:
    (root / "promptkit.yaml").write_text("mcp: {a/b: {command: [a]}}\n")
    with pytest.raises(InputError, match="the name of a server has up to 32 letters, digits, `-` and `_`"):
        Project.find(root)


@pytest.mark.parametrize("kind", ["prompts", "pipelines"])
def test_every_shipped_name_is_found(kind: FileKind, tmp_path: Path) -> None:
    project = Project(tmp_path)
    find = project.find_prompt if kind == "prompts" else project.find_pipeline
    assert all(find(name) for name in project.names(kind))


def test_a_portable_name_is_the_same_wherever_the_project_and_promptkit_lie(root: Path, library: Path) -> None:
    project = Project.find(root)
    assert project.portable_name(root / "pipelines" / "chain.yaml") == "pipelines/chain.yaml"
    assert project.portable_name(library / "pipelines" / "feedback.yaml") == "pipelines/feedback.yaml"
    assert project.portable_name(root.parent / "elsewhere" / "x.yaml") == "x.yaml"


def test_a_name_that_was_found_stays_where_it_was_found_while_files_are_frozen(root: Path, library: Path) -> None:
    project = Project(root)
    with frozen_files():
        assert project.find_prompt("later") is None
        shipped = project.find_prompt("shipped")
        write(root, "templates/prompts/shipped.j2", "templates/prompts/later.j2")
        assert project.find_prompt("shipped") == shipped
        assert project.find_prompt("later") == root / "templates/prompts/later.j2"
    assert project.find_prompt("shipped") == root / "templates/prompts/shipped.j2"


def test_feeds_are_addresses_or_addresses_with_a_permission(root: Path) -> None:
    (root / "promptkit.yaml").write_text(
        "feeds:\n  world: https://example.org/rss?a=b\n  own: {url: 'http://127.0.0.1:80/', private: true}\n"
    )
    feeds = Project.find(root).settings.feeds
    assert {name: (feed.url, feed.private) for name, feed in feeds.items()} == {
        "world": ("https://example.org/rss?a=b", False),
        "own": ("http://127.0.0.1:80/", True),
    }


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("a b: https://example.org", 8, "a feed is named by"),
        ("ftp: ftp://example.org", 8, "must be the address of a feed"),
        ("bare: example.org", 9, "must be the address of a feed"),
        ("port: 'http://example.org:99999/'", 9, "must be the address of a feed"),
        ("space: 'http://example.org/a b'", 10, "must be the address of a feed"),
        ("key: https://me:secret@example.org", 8, "must be an address without user and password"),
        ("own: {url: 'http://x', privat: true}", 26, "unknown key `privat`"),
        ("own: {private: true}", 3, "`url` is missing"),
        ("own: {url: 'http://x', private: 'yes'}", 35, "must be true or false"),
        ("own: 3", 8, "must be a mapping"),
    ],
)
def test_a_wrong_feed_is_named_with_its_place(root: Path, line: str, column: int, message: str) -> None:
    (root / "promptkit.yaml").write_text(f"feeds:\n  {line}\n")
    with pytest.raises(InputError, match=message) as caught:
        Project.find(root)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (2, column)
    assert "secret" not in str(problem)
