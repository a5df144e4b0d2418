"""Drives the `websockets` library for a test.

Reads commands from standard input and writes events to standard output, one
JSON object a line. client.mjs does the same with another library; the Rust
side, src/client.rs, knows no difference. One process has one connection at a
time.
"""

import asyncio
import base64
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


async def receive(socket):
    try:
        async for message in socket:
            if isinstance(message, str):
                emit("text", data=message)
            else:
                emit("binary", data=base64.b64encode(message).decode())
    except ConnectionClosed:
        pass
    emit("close", code=socket.close_code, reason=socket.close_reason)


def chunks(command):
    with open(command["path"], "rb") as file:
        file.seek(command["skip"])
        while chunk := file.read(command["chunk"]):
            yield chunk


async def obey(socket, command):
    match command["do"]:
        case "text":
            await socket.send(command["data"])
        case "binary":
            await socket.send(base64.b64decode(command["data"]))
        case "file":
            for chunk in chunks(command):
                await socket.send(chunk)
        case "close":
            await socket.close(command["code"], command["reason"])


async def open_socket(command):
    """A socket and the task that reads from it, or None where there is none."""
    try:
        # No proxy and no keepalive of its own: the test decides what is sent.
        socket = await connect(
            command["url"], additional_headers=command["headers"], proxy=None, max_size=None, ping_interval=None,
            subprotocols=command["subprotocols"] or None,
        )
    except InvalidStatus as error:
        return emit("rejected", status=error.response.status_code)
    except Exception as error:
        return emit("failed", error=repr(error))
    emit("open", subprotocol=socket.subprotocol)
    return socket, asyncio.create_task(receive(socket))


async def main():
    lines = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read():
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(lines.put_nowait, None)

    loop.run_in_executor(None, read)
    opened = None
    while command := await lines.get():
        if command["do"] == "connect":
            opened = await open_socket(command)
            continue
        try:
            await obey(opened[0], command)
        except ConnectionClosed:
            emit("send-failed")
    if opened:
        await opened[1]


asyncio.run(main())
