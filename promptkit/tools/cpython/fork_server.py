"""The server process whose forks run programs: it loads modules once, and each fork is jailed before it runs anything.

It reads only requests of promptkit and runs only its own code. It ends when promptkit does, and its forks end with it.
"""

from __future__ import annotations

import ast
import gc
import json
import os
import signal
import socket
from typing import Final

from promptkit.tools.cpython.clock import seed_chance, stop_clock
from promptkit.tools.cpython.jail import CHANNEL, Jail, NotJailed
from promptkit.tools.cpython.modules import load_modules
from promptkit.tools.cpython.program_process import PromptkitIsGone, serve_programs

MOST_REQUEST: Final = 2**16
"""Bytes of a request."""

_REFUSED_STATUS: Final = 70


def serve(control: int) -> None:
    """Answer the requests on the socket `control` until it ends. Runs in the server process.

    `{"modules": […], "memory": bytes}`, which comes with a socket for the fork, is answered with the fork's process
    number, in decimal. `{"end": process}` ends a fork.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop_clock()
    jail = Jail()
    compile(ast.parse("0"), "", "exec")  # makes the classes of syntax trees once for all forks
    gc.freeze()  # so that collections in forks leave the pages of what is loaded alone
    with socket.socket(fileno=control) as requests:
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, MOST_REQUEST, 1)
            if not message:
                return
            request = json.loads(message)
            if "end" in request:
                _end(request["end"])
                continue
            if request["modules"]:
                load_modules(request["modules"])
                gc.freeze()
            (channel,) = descriptors
            process = _fork(jail, channel, request["memory"])
            os.close(channel)
            requests.send(str(process).encode())


def _fork(jail: Jail, channel: int, memory: int) -> int:
    """Return the number of a new process that runs programs in the jail."""
    server = os.getpid()
    if process := os.fork():
        return process
    try:
        seed_chance()
        jail.enter(channel, server, memory)
        serve_programs()
    except PromptkitIsGone:
        os._exit(0)
    except NotJailed as error:
        _refuse(channel, str(error))
    finally:
        os._exit(_REFUSED_STATUS)


def _refuse(channel: int, why: str) -> None:
    """Tell promptkit why there is no jail. The channel may have moved already."""
    from promptkit.tools.cpython.channel import encoded, send

    for descriptor in (channel, CHANNEL):
        try:
            send(descriptor, encoded({"refused": why}))
            return
        except OSError:
            continue


def _end(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
