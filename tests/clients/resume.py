"""A client that survives its connections, written from the protocol's text alone.

    resume.py FILE.wav URL TOKEN

Streams the samples of a WAV file with the features `ack` and `resume`: keeps what is
not acknowledged, comes back with the resume token when it is cut off, goes on from
`from_bytes`, and finalizes. It shares no code with the gateway, so that it shows what the
protocol is worth. Prints one JSON object a line: `ready`, `cut`, `finalized`, `refused`.
"""

import asyncio
import json
import random
import sys
import wave

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

CHUNK = 3200
PATIENCE = 30  # seconds without anything getting on, as long as the gateway's grace


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Refused(Exception):
    """The gateway said no, and that it will not change its mind."""


class Stream:
    """The audio, and how much of it is safe."""

    def __init__(self, path):
        with wave.open(path) as file:
            self.rate, self.channels = file.getframerate(), file.getnchannels()
            self.pcm = file.readframes(file.getnframes())
        self.acked = 0
        self.token = None
        self.retry_after = None

    async def send(self, socket, start):
        for at in range(start, len(self.pcm), CHUNK):
            await socket.send(self.pcm[at : at + CHUNK])
        await socket.send(json.dumps({"type": "finalize"}))

    async def welcome(self, socket):
        """Says the handshake; returns where the gateway wants to go on."""
        await socket.send(
            json.dumps(
                {
                    "type": "handshake",
                    "sample_rate": self.rate,
                    "channels": self.channels,
                    "codec": "pcm_s16le",
                    "device_id": "resume.py",
                    "features": ["ack", "resume"],
                }
            )
        )
        ack = json.loads(await socket.recv())
        if ack["type"] == "error":
            return self.heard(ack)
        assert ack["type"] == "handshake-ack" and ack["ok"], ack
        start = ack.get("from_bytes", 0)
        # What was acknowledged is never asked for again.
        assert self.acked <= start <= len(self.pcm), (self.acked, ack)
        emit("ready", session_id=ack["session_id"], from_bytes=start, acked=self.acked, resumed=self.token is not None)
        self.token = ack["resume_token"]
        return start

    def heard(self, message):
        """Returns what is said about the end, None for all else."""
        match message:
            case {"type": "ack", "bytes": safe}:
                self.acked = max(self.acked, safe)
            case {"type": "status", "status": "finalized"}:
                return message
            case {"type": "error", "retryable": True}:
                self.retry_after = message["retry_after_ms"]
            case {"type": "error"}:
                raise Refused(message)
        return None

    async def converse(self, socket):
        """One connection, as far as it gets: the `finalized`, or None."""
        start = await self.welcome(socket)
        if start is None:
            return None
        # Both at once: the gateway may speak at any time, and holds back a client that does not listen.
        sending = asyncio.create_task(self.send(socket, start))
        try:
            async for message in socket:
                if end := self.heard(json.loads(message)):
                    return end
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return None


async def run(path, url, token):
    stream = Stream(path)
    tries, best, since = 0, -1, asyncio.get_running_loop().time()
    while True:
        headers = {"Authorization": f"Bearer {token}"}
        # In a header, and not in the URL: those are logged everywhere.
        if stream.token:
            headers["x-sluice-resume"] = stream.token
        stream.retry_after = None
        why = "closed"
        try:
            async with connect(url, additional_headers=headers, proxy=None, max_size=None, close_timeout=3) as socket:
                if end := await stream.converse(socket):
                    await socket.wait_closed()
                    return emit("finalized", bytes=end["bytes"], duration_ms=end["duration_ms"], code=socket.close_code)
        except (ConnectionClosed, WebSocketException, OSError) as error:
            why = repr(error)
        now = asyncio.get_running_loop().time()
        if stream.acked > best:
            tries, best, since = 0, stream.acked, now
        if now - since > PATIENCE:
            raise TimeoutError(f"nothing got on for {PATIENCE} s: {why}")
        wait = min(5, 0.1 * 2**tries) * random.uniform(0.5, 1)
        wait = max(wait, (stream.retry_after or 0) / 1000)
        tries += 1
        emit("cut", acked=stream.acked, why=why, wait=wait)
        await asyncio.sleep(wait)


try:
    asyncio.run(run(*sys.argv[1:4]))
except Refused as refused:
    emit("refused", **refused.args[0])
    sys.exit(3)
