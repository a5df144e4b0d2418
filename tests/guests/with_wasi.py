"""Looks for whatever WASI could show it, and lets nobody in when it finds something.

Built without `--stub-wasi`: here the gateway stubs.
"""

# Names of hosts are looked up with it, and nothing is loaded any more by then.
import encodings.idna  # noqa: F401
import os
import socket
import time
from collections.abc import Iterator

from wit_world import exports
from wit_world.imports import connection
from wit_world.imports.types import Decision, Decision_Accept, Decision_Reject, Rejection


class OnConnect(exports.OnConnect):
    def decide(self, c: connection.Facts) -> Decision:
        print("nobody reads this", flush=True)
        # Nobody waits for it either.
        time.sleep(3600)
        found = ", ".join(finds())
        if not found:
            return Decision_Accept()
        return Decision_Reject(
            Rejection(close_code=4100, code="found", message=found, retryable=False, retry_after_ms=None)
        )


def finds() -> Iterator[str]:
    if os.environ:
        yield "an environment"
    if time.time() < 1_700_000_000:
        yield "a clock that stands"
    if os.urandom(16) == os.urandom(16):
        yield "randomness that is none"
    looks = {
        "a file": lambda: open("/etc/hostname"),
        "a folder": lambda: os.listdir("/"),
        "a place to write": lambda: open("found", "w"),
        "a neighbour": lambda: socket.create_connection(("127.0.0.1", 80)),
        "a name server": lambda: socket.getaddrinfo("localhost", 80),
    }
    for name, look in looks.items():
        try:
            look()
        except OSError:
            continue
        yield name


class Lifecycle(exports.Lifecycle):
    def validate_config(self) -> None:
        return
