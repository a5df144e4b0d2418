#!/usr/bin/env python3
"""Reads a stream that Sluice keeps in NATS: exactly its bytes, once and in order, to standard output.

    pip install nats-py
    read.py nats://127.0.0.1:4222 SLUICE_AUDIO_0 sluice.audio.0.ingest.m1.mic.SESSION > audio.pcm

It follows a stream that still runs, and ends with its last message. What the stream is, and each change of its writer, goes to
standard error. The rule is in host/docs/cluster.md.
"""

import asyncio
import json
import sys

import nats
from nats.js.errors import NotFoundError

# Time between two looks at the end of a stream that still runs.
PAUSE = 0.1


class Broken(Exception):
    """The messages of the subject are not a whole stream."""


class Position:
    """How far a stream was read."""

    def __init__(self):
        self.bytes = 0
        self.epoch = 0
        self.writer = None

    def take(self, headers, payload):
        """Checks that a message follows those before it. Returns how the stream ended, if this is its end."""
        epoch, start = int(headers["Sluice-Epoch"]), int(headers["Sluice-From"])
        is_fence = "Sluice-Fence" in headers
        if self.epoch == 0 and (start > 0 or not is_fence):
            raise Broken(f"the first {start} bytes are not there any more")
        if start != self.bytes:
            raise Broken(f"a message begins at byte {start}, and {self.bytes} came before it")
        if is_fence:
            if epoch <= self.epoch:
                raise Broken(f"epoch {epoch} begins after epoch {self.epoch}")
            self.epoch, self.writer = epoch, headers["Sluice-Writer"]
            return None
        if (epoch, headers["Sluice-Writer"]) != (self.epoch, self.writer):
            raise Broken(f"a message of epoch {epoch} comes after epoch {self.epoch} began")
        if "Sluice-Fin" in headers:
            return headers["Sluice-Fin"]
        self.bytes += len(payload)
        return None


async def read(server, stream, subject, out):
    """Writes a stream to a file. Returns how it ended."""
    client = await nats.connect(server, max_reconnect_attempts=-1)
    try:
        jetstream, position, sequence = client.jetstream(), Position(), 1
        while True:
            try:
                # Asks the leader, and not a follower that may not have everything yet.
                message = await jetstream.get_msg(stream, seq=sequence, subject=subject, next=True)
            except (NotFoundError, nats.errors.Error):
                # Nothing yet, or no leader. Only a message is the end.
                await asyncio.sleep(PAUSE)
                continue
            sequence = message.seq + 1
            payload = message.data or b""
            end = position.take(message.headers or {}, payload)
            if "Sluice-Fence" in message.headers:
                about = json.loads(message.headers["Sluice-About"])
                print(f"epoch {position.epoch}, from byte {position.bytes}: {about}", file=sys.stderr)
            if end:
                print(f"{end}, {position.bytes} bytes", file=sys.stderr)
                return end
            out.write(payload)
            out.flush()
    finally:
        await client.close()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        asyncio.run(read(*sys.argv[1:], sys.stdout.buffer))
    except (Broken, KeyError) as error:
        sys.exit(f"read.py: {error}")
