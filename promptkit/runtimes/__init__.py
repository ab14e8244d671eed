"""Runtimes that answer requests, and the `Client` that every request goes through.

A script that answers in place of a model, and a runtime of a package, import these names from here.
"""

from promptkit.runtimes.base import Message as Message
from promptkit.runtimes.base import Model as Model
from promptkit.runtimes.base import Reply as Reply
from promptkit.runtimes.base import Request as Request
from promptkit.runtimes.base import Runtime as Runtime
from promptkit.runtimes.base import Thought as Thought
