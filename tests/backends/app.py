"""A backend as many are: an app of FastAPI, served by uvicorn, for a test.

Keeps each session's audio in a file of the folder STORE, so that whoever kills it
loses nothing that it confirmed. Prints what it sees as JSON, one object a line; what
uvicorn itself logs stands between.
"""

import hashlib
import json
import os
from pathlib import Path

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


async def accept(socket):
    await socket.accept()
    emit("open", path=socket.url.path, query=socket.url.query, headers=dict(socket.headers))
    emit("text", data=await socket.receive_text())
    await socket.send_json({"type": "handshake-ack", "ok": True, "status": "ready"})


@app.websocket("/take/{meeting}")
async def take(socket: WebSocket, meeting: str):
    await accept(socket)
    with open(Path(os.environ["STORE"]) / socket.headers["x-sluice-session"], "a+b", buffering=0) as stream:
        size = stream.seek(0, os.SEEK_END)
        try:
            while (message := await socket.receive())["type"] == "websocket.receive":
                if audio := message.get("bytes"):
                    size += stream.write(audio)
                    await socket.send_json({"type": "ack", "bytes": size})
                    await socket.send_json({"type": "transcript", "bytes": size})
                    continue
                emit("text", data=message["text"])
                order = json.loads(message["text"])
                if order["type"] == "replay":
                    # What it had beyond that comes again.
                    size = stream.truncate(order["from_bytes"])
                elif order["type"] == "finalize":
                    await socket.send_json({"type": "transcript", "text": "the last words"})
                    await socket.send_json({"type": "status", "status": "finalized"})
        except WebSocketDisconnect as gone:
            message = {"code": gone.code}
        stream.seek(0)
        sha256 = hashlib.sha256(stream.read()).hexdigest()
        emit("end", bytes=size, sha256=sha256, code=message["code"], reason=message.get("reason"))


@app.websocket("/refuse/{meeting}")
async def refuse(socket: WebSocket, meeting: str):
    """Closed before it is accepted: uvicorn answers with 403."""
    await socket.close()


@app.websocket("/close-{code}/{meeting}")
async def close(socket: WebSocket, code: int, meeting: str):
    await accept(socket)
    await socket.receive_bytes()
    await socket.close(code, "enough")


@app.websocket("/break/{meeting}")
async def break_down(socket: WebSocket, meeting: str):
    """An app with a bug."""
    await accept(socket)
    await socket.receive_bytes()
    raise RuntimeError("a bug")
