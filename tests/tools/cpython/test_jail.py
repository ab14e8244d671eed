"""The filter of system calls, for each kind of processor, and the refusal where there is no jail."""

from __future__ import annotations

import platform
import struct
import sys
from collections.abc import Iterator

import pytest

from promptkit.errors import Unsupported
from promptkit.tools.backends import jail_fault, resolve_backend
from promptkit.tools.cpython import jail as own_module
from promptkit.tools.cpython import server_client
from promptkit.tools.python import run_python

ALLOWED, REFUSED, KILLED = 0x7FFF0000, 0x00050001, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def decision(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """Return what the filter of a machine says of a system call, as the kernel's BPF computes it."""
    words = [number, ARCHITECTURES[machine] if architecture is None else architecture, 0, 0]
    words += [half for value in (*arguments, *[0] * 6)[:6] for half in (value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF)]
    code = [struct.unpack("=HBBI", instruction) for instruction in own_module._filter(machine)]
    at = word = 0
    while True:
        value: int
        kind, if_true, if_false, value = code[at]
        at += 1
        if kind == 0x20:
            word = words[value // 4]
        elif kind == 0x06:
            return value
        else:
            holds = word == value if kind == 0x15 else bool(word & value)
            at += if_true if holds else if_false


MINUS_ONE = 2**64 - 1
PRIVATE, ANONYMOUS, READ_WRITE, EXECUTE = 0x2, 0x20, 0x3, 0x4
# The numbers of a call on x86_64 and on aarch64, its arguments, and the filter's answer.
CALLS = [
    ((0, 63), (3, 0, 1), ALLOWED),  # read
    ((0, 63), (0, 0, 1), REFUSED),
    ((0, 63), (4, 0, 1), REFUSED),
    ((1, 64), (3, 0, 1), ALLOWED),  # write
    ((1, 64), (1, 0, 1), REFUSED),
    ((9, 222), (0, 4096, READ_WRITE, PRIVATE | ANONYMOUS, MINUS_ONE), ALLOWED),  # mmap
    ((9, 222), (0, 4096, READ_WRITE, PRIVATE, 3), REFUSED),
    ((9, 222), (0, 4096, READ_WRITE | EXECUTE, PRIVATE | ANONYMOUS, MINUS_ONE), REFUSED),
    ((10, 226), (0, 4096, READ_WRITE), ALLOWED),  # mprotect
    ((10, 226), (0, 4096, EXECUTE), REFUSED),
    ((12, 214), (), ALLOWED),  # brk
    ((11, 215), (), ALLOWED),  # munmap
    ((25, 216), (), ALLOWED),  # mremap
    ((15, 139), (), ALLOWED),  # rt_sigreturn
    ((60, 93), (), ALLOWED),  # exit
    ((231, 94), (), ALLOWED),  # exit_group
    ((2, 56), (), REFUSED),  # open, openat
    ((57, 220), (), REFUSED),  # fork, clone
    ((59, 221), (), REFUSED),  # execve
    ((41, 198), (), REFUSED),  # socket
    ((2**30, 2**30), (), REFUSED),
]


@pytest.mark.parametrize(("machine", "place"), [("x86_64", 0), ("aarch64", 1)])
def test_the_filter_allows_computing_and_the_channel(machine: str, place: int) -> None:
    for numbers, arguments, expected in CALLS:
        assert decision(machine, numbers[place], *arguments) == expected, (numbers, arguments)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_ten_calls_and_no_more(machine: str) -> None:
    anything = (3, 0, 0, ANONYMOUS)
    assert [decision(machine, number, *anything) for number in range(2_000)].count(ALLOWED) == 10


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    """Such as those of 32-bit programs, whose numbers mean others."""
    assert decision(machine, 60, architecture=0x40000003) == KILLED


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Forget what was found out about the jail, before and after the test."""
    server_client.jail_fault.cache_clear()
    yield
    server_client.jail_fault.cache_clear()


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("system", "machine", "python", "why"),
    [
        ("darwin", "arm64", "cpython", "seccomp, which only Linux has"),
        ("win32", "AMD64", "cpython", "seccomp, which only Linux has"),
        ("linux", "riscv64", "cpython", "processors of the kind riscv64"),
        ("linux", "x86_64", "pypy", "is pypy, not CPython"),
    ],
)
async def test_programs_are_refused_where_there_is_no_jail(
    system: str, machine: str, python: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sys.implementation, "name", python)
    assert why in (jail_fault() or "")
    assert resolve_backend("auto") == "monty"
    with pytest.raises(Unsupported, match=why) as caught:
        await run_python("1", backend="cpython")
    assert "programs: {backend: monty}" in (caught.value.hint or "")
