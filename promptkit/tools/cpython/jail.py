"""The jail of a process: a seccomp filter under which it can compute, and talk over one descriptor, and nothing else.

The filter allows ten system calls. All others, of any version of the kernel, fail with EPERM, so the jail needs neither
privileges nor namespaces. It is our own code, because the libraries of the index need `libseccomp`, which slim
containers lack. Its form: Linux's `Documentation/userspace-api/seccomp_filter.rst`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from collections.abc import Iterator
from typing import Final

CHANNEL: Final = 3
"""The descriptor that a jailed process may read and write."""

_SYSTEM_CALLS: Final = {
    "x86_64": {
        "read": 0,
        "write": 1,
        "mmap": 9,
        "mprotect": 10,
        "munmap": 11,
        "brk": 12,
        "rt_sigreturn": 15,
        "mremap": 25,
        "exit": 60,
        "exit_group": 231,
    },
    "aarch64": {
        "read": 63,
        "write": 64,
        "exit": 93,
        "exit_group": 94,
        "rt_sigreturn": 139,
        "brk": 214,
        "munmap": 215,
        "mremap": 216,
        "mmap": 222,
        "mprotect": 226,
    },
}
_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE = 1, 22, 38, 4
_SECCOMP_MODE_FILTER: Final = 2
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JMP|JSET|K, RET|K
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # RET_ALLOW, RET_ERRNO with EPERM, RET_KILL_PROCESS
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in `struct seccomp_data`
_PROT_EXEC, _MAP_ANONYMOUS = 0x4, 0x20


class NotJailed(Exception):
    """The process could not be jailed; the message says why."""


def missing_for_jail() -> str | None:
    """Return the reason why this system cannot jail a process, as far as it is known untried; None without one."""
    if sys.platform != "linux":
        return "programs are jailed by seccomp, which only Linux has"
    if platform.machine() not in _SYSTEM_CALLS or sys.maxsize < 2**32:
        return f"there is no seccomp filter for processors of the kind {platform.machine() or 'unknown'}"
    if sys.implementation.name != "cpython":
        return f"this Python is {sys.implementation.name}, not CPython"
    return None


class Jail:
    """The jail, prepared before the process forks that enters it, so that entering it costs little."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        code = b"".join(_filter(platform.machine()))
        self._code = ctypes.create_string_buffer(code, len(code))
        # `struct sock_fprog`: the number of instructions, and a pointer to them.
        self._program = ctypes.create_string_buffer(
            struct.pack("@HP", len(code) // 8, ctypes.addressof(self._code)), struct.calcsize("@HP")
        )

    def enter(self, channel: int, parent: int, memory: int) -> None:
        """Jail this process for ever. Of its descriptors it keeps `channel`, as CHANNEL, and the first three.

        It may take `memory` bytes more than it has, and dies with `parent`. Raises NotJailed.
        """
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            raise NotJailed("the parent has ended")
        os.dup2(channel, CHANNEL)
        os.closerange(CHANNEL + 1, 1 + max(map(int, os.listdir("/proc/self/fd"))))
        _bound(memory)
        self._prctl(_PR_SET_DUMPABLE, 0)
        self._prctl(_PR_SET_NO_NEW_PRIVS, 1)
        self._prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(self._program))
        check_jailed()

    def _prctl(self, option: int, *arguments: int) -> None:
        given = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
        if self._libc.prctl(option, *given) != 0:
            error = os.strerror(ctypes.get_errno())
            raise NotJailed(f"the kernel refuses prctl({option}): {error}")


def check_jailed() -> None:
    """Raise NotJailed where this process can open files."""
    try:
        os.open("/", os.O_RDONLY)
    except OSError as error:
        if error.errno == errno.EPERM:
            return
    raise NotJailed("the filter has no effect")


def _bound(memory: int) -> None:
    import resource  # not on Windows, which imports this module to learn that it has no jail

    with open("/proc/self/statm", "rb", buffering=0) as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    for limit, most in (
        (resource.RLIMIT_AS, taken + memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, CHANNEL + 1),
    ):
        _, hard = resource.getrlimit(limit)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (bound, bound))


def _filter(machine: str) -> Iterator[bytes]:
    """Yield the instructions of the filter for a kind of processor."""
    calls = _SYSTEM_CALLS[machine]
    yield from _require(_ARCHITECTURE, _EQUAL, _AUDIT_ARCH[machine], otherwise=_KILL)
    # `read` and `write` on the channel alone; memory that is no file's, and that cannot be executed.
    conditions = {
        "read": [(0, _EQUAL, CHANNEL, True)],
        "write": [(0, _EQUAL, CHANNEL, True)],
        "mmap": [(2, _ANY_BIT, _PROT_EXEC, False), (3, _ANY_BIT, _MAP_ANONYMOUS, True)],
        "mprotect": [(2, _ANY_BIT, _PROT_EXEC, False)],
    }
    for name, number in calls.items():
        rules = [
            instruction
            for argument, test, value, holds in conditions.get(name, [])
            for instruction in _require(_ARGUMENTS + 8 * argument, test, value, holds=holds)
        ]
        yield _instruction(_LOAD, 0, 0, _NUMBER)
        yield _instruction(_EQUAL, 0, len(rules) + 1, number)
        yield from rules
        yield _instruction(_RETURN, 0, 0, _ALLOW)
    yield _instruction(_RETURN, 0, 0, _REFUSE)


def _require(offset: int, test: int, value: int, *, holds: bool = True, otherwise: int = _REFUSE) -> Iterator[bytes]:
    """Yield instructions that end the call with `otherwise` unless the test of a 32-bit word `holds`, or does not."""
    yield _instruction(_LOAD, 0, 0, offset)
    yield _instruction(test, 1, 0, value) if holds else _instruction(test, 0, 1, value)
    yield _instruction(_RETURN, 0, 0, otherwise)


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
