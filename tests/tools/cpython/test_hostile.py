"""Programs that try to get out of CPython's jail. The kernel refuses them; import lists only give better messages.

The attacks reach modules that programs may not import through `sys.modules`, and the kernel through `ctypes`.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from promptkit.tools.cpython.jail import _SYSTEM_CALLS
from promptkit.tools.python import Execution, run_python
from promptkit.tools.sandbox import Failure, Limits

LIMITS = Limits(memory=32 * 2**20)

# Each raises PermissionError, or is a call of C that returns -1 with EPERM. None ends the process in which they run.
REFUSED = {
    # Files
    "read a file": "open('/etc/passwd')",
    "write a file": "open('{folder}/made', 'w')",
    "open with C": "c(libc.open(b'/etc/passwd', 0))",
    "open by the system call": "os.open('/etc/passwd', os.O_RDONLY)",
    "open relative to a descriptor": "os.open('passwd', os.O_RDONLY, dir_fd=0)",
    "open the environment": "open('/proc/self/environ', 'rb')",
    "open the environment of promptkit": "open(f'/proc/{parent}/environ', 'rb')",
    "open the memory": "open('/proc/self/mem', 'r+b', buffering=0)",
    "open a descriptor again": "open('/proc/self/fd/3', 'wb')",
    "open the root of process 1": "os.open('/proc/1/root', os.O_RDONLY)",
    "open a disk": "open('/dev/vda', 'rb')",
    "open the kernel's memory": "open('/dev/mem', 'rb')",
    "open the terminal": "open('/dev/tty')",
    "read standard input": "os.read(0, 1)",
    "write standard output": "os.write(1, b'x')",
    "write standard error": "os.write(2, b'x')",
    "read another descriptor": "os.read(4, 1)",
    "write another descriptor": "os.write(4, b'x')",
    "list a folder": "os.listdir('/')",
    "scan a folder": "os.scandir('/')",
    "see a file": "os.stat('/etc/passwd')",
    "see a link": "os.lstat('/etc/passwd')",
    "see a descriptor": "os.fstat(3)",
    "read a link": "os.readlink('/proc/self/exe')",
    "make a link": "os.symlink('/etc/passwd', '{folder}/made')",
    "make a hard link": "os.link('/etc/passwd', '{folder}/made')",
    "make a folder": "os.mkdir('{folder}/made')",
    "make a pipe of a name": "os.mkfifo('{folder}/made')",
    "make a device": "os.mknod('{folder}/made', 0o60666, os.makedev(8, 0))",
    "remove a file": "os.unlink('{folder}/secret.txt')",
    "remove a folder": "os.rmdir('{folder}')",
    "rename a file": "os.rename('{folder}/secret.txt', '{folder}/made')",
    "change a mode": "os.chmod('{folder}/secret.txt', 0o777)",
    "change an owner": "os.chown('{folder}/secret.txt', 1, 1)",
    "cut a file": "os.truncate('{folder}/secret.txt', 0)",
    "change a time": "os.utime('{folder}/secret.txt')",
    "set an attribute": "os.setxattr('{folder}/secret.txt', 'user.x', b'x')",
    "see the disk": "os.statvfs('/')",
    "change the folder": "os.chdir('/')",
    "see the folder": "os.getcwd()",
    "change the root": "os.chroot('/tmp')",
    "a file in memory": "os.memfd_create('x')",
    "load a library": "load_library()",
    # Processes and threads
    "fork": "os.fork()",
    "fork with a terminal": "os.forkpty()",
    "fork in C": "c(libc.fork())",
    "clone": "c(libc.syscall(NR['clone'], 17, 0, 0, 0, 0))",
    "clone with namespaces": "c(libc.syscall(NR['clone'], 0x7C020011, 0, 0, 0, 0))",
    "become a program": "os.execv('/bin/sh', ['sh'])",
    "become a program with an environment": "os.execve('/bin/sh', ['sh'], {})",
    "spawn a program": "os.posix_spawn('/bin/sh', ['sh'], {})",
    "run a shell": "run_shell('touch {folder}/made')",
    "start a thread": "start_thread()",
    "trace promptkit": "c(libc.ptrace(16, parent, 0, 0))",
    "be traced": "c(libc.ptrace(0, 0, 0, 0))",
    "kill promptkit": "os.kill(parent, 9)",
    "kill all": "os.kill(-1, 9)",
    "kill the group": "os.killpg(1, 9)",
    "signal itself": "os.kill(os.getpid(), 0)",
    "open a process": "os.pidfd_open(parent)",
    "wait for a process": "os.waitpid(-1, 0)",
    "leave the session": "os.setsid()",
    "leave the group": "os.setpgid(0, 0)",
    "raise the priority": "os.nice(-5)",
    "choose processors": "os.sched_setaffinity(0, {0})",
    "see another's memory": "c(libc.process_vm_readv(parent, 0, 0, 0, 0, 0))",
    # The network
    "a pair of sockets": "_socket.socketpair()",
    "the channel as a socket": "_socket.socket(fileno=3).send(b'x')",
    "a descriptor over the channel": "c(libc.sendmsg(3, ctypes.create_string_buffer(56), 0))",
    "listen on the channel": "c(libc.listen(3, 1))",
    **{
        f"a socket of the family {family}": f"_socket.socket({family}, {kind}, 0)"
        for family, kind in [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (10, 1), (16, 3), (17, 3), (38, 5), (40, 1)]
    },
    # Descriptors
    "a pipe": "os.pipe()",
    "a copy of a descriptor": "os.dup(3)",
    "a copy in another's place": "os.dup2(3, 1)",
    "an event": "os.eventfd(0)",
    "flags of a descriptor": "os.set_inheritable(3, True)",
    "control of a descriptor": "c(libc.ioctl(3, 0x5401, 0))",
    "close the channel": "os.close(3)",
    "a signal at each byte": "c(libc.fcntl(3, 8, parent))",
    "an epoll": "c(libc.epoll_create1(0))",
    # Privileges and the kernel
    "another user": "os.setuid(0)",
    "another group": "os.setgid(0)",
    "other groups": "os.setgroups([0])",
    "other namespaces": "c(libc.unshare(0x10000000))",
    "another's namespaces": "c(libc.setns(3, 0))",
    "mount": "c(libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0))",
    "unmount": "c(libc.umount2(b'/tmp', 0))",
    "leave the jail": "c(libc.prctl(22, 0, 0, 0, 0))",
    "privileges again": "c(libc.prctl(24, 21, 0, 0, 0))",
    "larger limits": "resource_limit()",
    "another name of the machine": "c(libc.sethostname(b'x', 1))",
    "another time": "c(libc.clock_settime(0, ctypes.create_string_buffer(16)))",
    "restart the machine": "c(libc.reboot(0x01234567))",
    "a timer": "c(libc.setitimer(0, ctypes.create_string_buffer(32), 0))",
    "a key": "c(libc.syscall(NR['keyctl'], 0, 0, 0, 0, 0))",
    "a program of the kernel": "c(libc.syscall(NR['bpf'], 0, 0, 0, 0, 0))",
    "counters of the processor": "c(libc.syscall(NR['perf_event_open'], 0, 0, 0, 0, 0))",
    "a ring of calls": "c(libc.syscall(NR['io_uring_setup'], 8, 0, 0, 0, 0))",
    "faults of pages": "c(libc.syscall(NR['userfaultfd'], 0, 0, 0, 0, 0))",
    "a module of the kernel": "c(libc.syscall(NR['init_module'], 0, 0, 0, 0, 0))",
    "a handle of a file": "c(libc.syscall(NR['open_by_handle_at'], 0, 0, 0, 0, 0))",
    "shared memory": "c(libc.shmget(0, 4096, 0o1666))",
    "chance of the machine": "os.urandom(8)",
    # Memory that can be executed
    "map code": "c(libc.mmap(0, ctypes.c_size_t(4096), 7, 0x22, -1, 0))",
    "map a file": "c(libc.mmap(0, ctypes.c_size_t(4096), 1, 0x2, 3, 0))",
    "make code": "c(libc.mprotect(aligned(), ctypes.c_size_t(4096), 5))",
}

NUMBERS = {
    "x86_64": {
        "clone": 56,
        "keyctl": 250,
        "bpf": 321,
        "perf_event_open": 298,
        "io_uring_setup": 425,
        "userfaultfd": 323,
        "init_module": 175,
        "open_by_handle_at": 304,
    },
    "aarch64": {
        "clone": 220,
        "keyctl": 219,
        "bpf": 280,
        "perf_event_open": 241,
        "io_uring_setup": 425,
        "userfaultfd": 282,
        "init_module": 105,
        "open_by_handle_at": 265,
    },
}

TOOLS = """
import sys
os, ctypes = sys.modules["os"], sys.modules["ctypes"]
_socket = sys.modules["_socket"]
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_ssize_t
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
pages = ctypes.create_string_buffer(3 * 4096)

def aligned():
    return (ctypes.addressof(pages) + 4095) // 4096 * 4096

def refused(is_refused, outcome):
    if is_refused:
        raise PermissionError(1, "refused")
    return outcome

def c(returned):
    return refused(returned == -1 and ctypes.get_errno() == 1, returned)

def start_thread():
    try:
        return sys.modules["_thread"].start_new_thread(print, ())
    except RuntimeError as error:
        return refused(True, error)

def resource_limit():
    resource = sys.modules["resource"]
    try:
        return resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    except ValueError as error:
        return refused("not allowed" in str(error), error)

def load_library():
    try:
        return ctypes.CDLL("libpthread.so.0")
    except OSError as error:
        return refused("not permitted" in str(error), error)

def run_shell(command):
    status = os.system(command)
    return refused(status == 127 << 8, status)
"""


@pytest.mark.attack("python")
@pytest.mark.usefixtures("jail")
async def test_the_kernel_refuses_what_is_not_computing(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("swordfish")
    attacks = {name: code.replace("{folder}", str(tmp_path)) for name, code in REFUSED.items()}
    program = f"""{TOOLS}
NR = {NUMBERS[platform.machine()]}
outcomes = {{}}
for name, code in attacks.items():
    try:
        outcomes[name] = repr(eval(code))
    except PermissionError:
        pass
    except BaseException as error:
        outcomes[name] = repr(error)
outcomes
"""
    execution = await run_python(program, inputs={"attacks": attacks, "parent": os.getpid()}, backend="cpython")
    assert execution == Execution(value={})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("secret.txt", "swordfish")]


@pytest.mark.attack("python")
@pytest.mark.usefixtures("jail")
async def test_the_kernel_refuses_every_other_system_call() -> None:
    """All numbers that a kernel has or may get, also those of the x32 interface.

    `uretprobe` and `uprobe` (335 and 336) pass by every filter, and end a process that they have not probed.
    """
    program = f"""{TOOLS}
odd = []
for base in (0, 0x40000000):
    for number in range(700):
        if base == 0 and number in allowed:
            continue
        ctypes.set_errno(0)
        if libc.syscall(ctypes.c_long(base + number), 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != 1:
            odd.append(base + number)
odd
"""
    allowed = [*_SYSTEM_CALLS[platform.machine()].values(), 335, 336]
    assert await run_python(program, inputs={"allowed": allowed}, backend="cpython") == Execution(value=[])


@pytest.mark.usefixtures("jail")
async def test_the_process_has_nothing_of_promptkits_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTKIT_SECRET", "swordfish")
    names = (await run_python("import sys\nsorted(sys.modules['os'].environ)", backend="cpython")).value
    assert set(names) <= {
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "MKL_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PYTHONHASHSEED",
        "TZ",
    }


WRITE = """
import json, struct, sys
os = sys.modules["os"]
def write(message):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    os.write(3, struct.pack("!I", len(body)) + body)
"""
BROKEN = "the program broke its process"

FORGED = {
    "call_of_another_function": ("write({'call': 'exit', 'arguments': [], 'named': {}})", BROKEN),
    "call_with_odd_arguments": ("write({'call': 'double', 'arguments': 1, 'named': {}})", BROKEN),
    "module_of_the_system": ("write({'missing': ['os', '../x', 5, 'antigravity', 'sympy.this']})", BROKEN),
    "odd_modules": ("write({'missing': 'sympy'})", BROKEN),
    "odd_failure": ("write({'failure': {'kind': 1}})", BROKEN),
    "nothing": ("write({})", BROKEN),
    "no_object": ("write([])", "not an object"),
    "no_json": ("write(b'{')", "broke its process"),
    "no_text": ("write(bytes(range(128, 256)))", "broke its process"),
    "deep_json": ("write(b'[' * 10**6)", "nested too deeply"),
    "long_message": ("os.write(3, struct.pack('!I', 2**31))", "too long"),
    "half_a_message": ("os.write(3, b'\\0\\0\\0\\x09{'); os._exit(0)", "ended its process"),
    "no_message": ("os._exit(0)", "ended its process"),
    "a_broken_process": ("sys.modules['ctypes'].string_at(0)", "ended its process"),
    "no_number": ("write({'value': float('inf')})", "not a usable number"),
    "a_deep_value": ("write(b'{\"value\":' + b'[' * 500 + b']' * 500 + b'}')", "nested more than 100 deep"),
    "a_large_value": ("write({'value': 'x' * 300_000})", "too large"),
    "much_output": ("write({'printed': 'x' * 300_000})", "printed more than"),
    "a_long_failure": ("write({'failure': {'kind': 'odd', 'message': 'x' * 10**6, 'line': 1}})", "xxx…"),
}


@pytest.mark.attack("python")
@pytest.mark.usefixtures("jail")
@pytest.mark.parametrize(("code", "message"), FORGED.values(), ids=list(FORGED))
async def test_promptkit_believes_no_message(code: str, message: str) -> None:
    program = f"{WRITE}\n{code}\nwhile True: pass"
    execution = await run_python(program, functions={"double": lambda x: 2 * x}, limits=LIMITS, backend="cpython")
    assert execution.failure is not None and message in execution.failure.message
    assert len(execution.failure.message) < 400 and len(execution.output) <= LIMITS.output


@pytest.mark.attack("python")
@pytest.mark.usefixtures("jail")
async def test_a_program_cannot_ask_for_modules_without_end() -> None:
    """Each question starts the program again, in what is left of its time."""
    program = f"{WRITE}\nwrite({{'missing': [f'json.x{{n}}' for n in range(10_000)]}})\nwhile True: pass"
    execution = await run_python(program, limits=Limits(seconds=0.2), backend="cpython")
    assert execution.failure is not None and execution.failure.kind == "time"


@pytest.mark.attack("python")
@pytest.mark.usefixtures("jail")
async def test_a_program_changes_python_for_itself_alone() -> None:
    program = (
        "import sys, json\nsys.modules['builtins'].len = json.dumps = lambda *a, **b: 99\n"
        "sys.modules.clear()\nsys.meta_path.clear()\nlen([])"
    )
    await run_python(program, backend="cpython")
    assert await run_python("len([1])", backend="cpython") == Execution(value=1)


@pytest.mark.attack("python")
@pytest.mark.usefixtures("jail")
async def test_a_program_that_fills_its_memory_has_a_failure_with_a_line() -> None:
    program, limits = "kept = []\nwhile True: kept.append('x' * 10**5)", Limits(memory=16 * 2**20)
    failure = (await run_python(program, limits=limits, backend="cpython")).failure
    assert failure == Failure("memory", "the program needs more than 16 MB of memory", 2)
