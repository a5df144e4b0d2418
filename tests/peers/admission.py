"""What many teams have today: the checks of an admission in an app of FastAPI, served by uvicorn.

The same exchange and the same checks as the gateway's three policies: the token, a meeting that already streams, the
sample rate. Needs SECRET in the environment.
"""

import asyncio
import os

import jwt
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
SECRET = os.environ["SECRET"]
# The time between the last message and the Close, which some clients need.
SETTLE = 0.1
live = set()


async def refuse(socket, code, word, message):
    await socket.send_json({
        "type": "error", "status": "error", "code": word, "message": message, "close_code": code,
        "retryable": False, "retry_after_ms": None,
    })
    await asyncio.sleep(SETTLE)
    await socket.close(code, message)


@app.websocket("/ws/ingest/meetings/{meeting}")
async def ingest(socket: WebSocket, meeting: str, source: str = "mic"):
    await socket.accept()
    token = socket.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        jwt.decode(token, SECRET, algorithms=["HS256"], audience="meetings", issuer="our-app",
                   options={"require": ["exp", "user_id", "tenant_id"]})
    except jwt.InvalidTokenError as error:
        return await refuse(socket, 4001, "auth_failed", f"auth failed: {error}")
    if (meeting, source) in live:
        return await refuse(socket, 4002, "ingest_exists", "Ingest already active")
    live.add((meeting, source))
    try:
        handshake = await socket.receive_json()
        if handshake.get("sample_rate") not in (16000, 48000):
            return await refuse(socket, 4000, "invalid_sample_rate", "the sample rate must be 16000 or 48000")
        await socket.send_json({"type": "handshake-ack", "ok": True, "status": "ready", "protocol": "ingest.v1"})
        size = 0
        while True:
            message = await socket.receive()
            if message["type"] != "websocket.receive":
                return
            if audio := message.get("bytes"):
                size += len(audio)
            else:
                break
        await socket.send_json({"type": "status", "status": "finalized", "bytes": size})
    except WebSocketDisconnect:
        return
    finally:
        live.discard((meeting, source))
    await asyncio.sleep(SETTLE)
    await socket.close(1000, "finalized")
