"""A backend made of the `websockets` library, for a test.

Listens on a free port, prints what it sees as JSON, one object a line, and does
what the parameter `do` of a request says, which may be several words with
commas between them. backend.mjs does the same with another library.
"""

import asyncio
import hashlib
import json
import os
import ssl
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


# What was heard of each session, over all of its connections. What is confirmed
# is in the folder, where there is one, and outlives the process.
streams = {}
folder = os.environ.get("STORE") and Path(os.environ["STORE"])


def stream_of(session):
    stored = folder / session if folder else None
    if session not in streams:
        streams[session] = bytearray(stored.read_bytes() if stored and stored.exists() else b"")
    return streams[session], stored


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def orders(path):
    words = parse_qs(urlsplit(path).query).get("do", [""])[0]
    return dict(word.partition(":")[::2] for word in words.split(",") if word)


def refuse_request(connection, request):
    if status := orders(request.path).get("status"):
        return connection.respond(HTTPStatus(int(status)), "no\n")


sockets = set()


async def handle(socket):
    path = socket.request.path
    do = orders(path)
    if "shout" in do:
        # What is said here, all others are told, and then whoever said it.
        async for message in socket:
            for other in [*sockets, socket]:
                await other.send(message)
        return
    sockets.add(socket)
    emit("open", path=path, headers=dict(socket.request.headers.raw_items()))
    stream, stored = stream_of(socket.request.headers["x-sluice-session"])
    heard = 0
    say = lambda **message: socket.send(json.dumps(message))
    try:
        async for message in socket:
            if isinstance(message, bytes):
                stream += message
                heard += len(message)
                if "tell" in do:
                    await say(type="heard", bytes=heard)
                if "confirm" in do:
                    if stored:
                        # Whoever kills it finds a whole file.
                        whole = stored.with_suffix(".new")
                        whole.write_bytes(stream)
                        whole.replace(stored)
                    await say(type="ack", bytes=len(stream))
                if "echo" in do:
                    await socket.send(message)
                if heard >= int(do.get("close-after", heard + 1)):
                    await socket.close(int(do["close"]), "enough")
                if heard >= int(do.get("abort-after", heard + 1)):
                    socket.transport.abort()
                continue
            emit("text", data=message)
            if "echo" in do:
                await socket.send(message)
                continue
            message = json.loads(message)
            match message.get("type"):
                case "replay":
                    emit("replay", had=len(stream), **message)
                    # What it had beyond that comes again.
                    del stream[message["from_bytes"] :]
                case "handshake" if "refuse" in do:
                    await say(type="error", code="quota", message="no quota left", retryable=True)
                    await socket.close(4100, "no quota left")
                case "handshake" if "close" in do and "close-after" not in do:
                    await socket.close(int(do["close"]), "who are you")
                case "handshake" if "silent" not in do:
                    if "early" in do:
                        await say(type="welcome")
                    await say(type="handshake-ack", ok=True, status="ready", session_id="the backend's")
                    if "stall" in do:
                        socket.transport.pause_reading()
                    if "flood" in do:
                        for number in range(int(do["flood"])):
                            await say(type="transcript", number=number, text="x" * 1000)
                        emit("flooded")
                case "finalize" if "keep" not in do:
                    await say(type="transcript", text="the last words")
                    await say(type="status", status="finalized", words=3)
    except ConnectionClosed:
        pass
    sockets.discard(socket)
    emit("end", path=path, sha256=hashlib.sha256(stream).hexdigest(), bytes=len(stream), code=socket.close_code, reason=socket.close_reason)


def security():
    """The certificate to prove itself with, where it is to."""
    if "CERTIFICATE" not in os.environ:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["CERTIFICATE"], os.environ["KEY"])
    return context


async def main():
    # No keepalive of its own: the gateway's is what is tested.
    async with serve(
        handle, "127.0.0.1", 0, process_request=refuse_request, ping_interval=None, max_size=None, compression=None,
        ssl=security(),
    ) as server:
        emit("listening", port=server.sockets[0].getsockname()[1])
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
