// Drives the `ws` library for a test. See client.py: the same commands, the same events.

import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import WebSocket from "ws";

const emit = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, ...fields }) + "\n");

const connect = ({ url, headers, subprotocols }) =>
  new Promise((opened) => {
    const socket = new WebSocket(url, subprotocols, { headers, maxPayload: 0 });
    socket.on("open", () => {
      socket.open = true;
      emit("open", { subprotocol: socket.protocol });
      opened(socket);
    });
    socket.on("message", (data, isBinary) =>
      isBinary ? emit("binary", { data: data.toString("base64") }) : emit("text", { data: data.toString() }),
    );
    socket.on("close", (code, reason) => {
      if (socket.open) emit("close", { code, reason: reason.toString() });
    });
    socket.on("unexpected-response", (request, response) => {
      socket.rejected = true;
      request.destroy();
      emit("rejected", { status: response.statusCode });
      opened();
    });
    socket.on("error", (error) => {
      if (socket.open || socket.rejected) return;
      emit("failed", { error: String(error) });
      opened();
    });
  });

const send = (socket, data) =>
  new Promise((sent) =>
    socket.send(data, (error) => {
      if (error) emit("send-failed");
      sent();
    }),
  );

const obey = async (socket, command) => {
  switch (command.do) {
    case "text":
      return send(socket, command.data);
    case "binary":
      return send(socket, Buffer.from(command.data, "base64"));
    case "file": {
      const pcm = readFileSync(command.path).subarray(command.skip);
      for (let at = 0; at < pcm.length; at += command.chunk) await send(socket, pcm.subarray(at, at + command.chunk));
      return;
    }
    case "close":
      return socket.close(command.code, command.reason);
  }
};

let socket;
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.do === "connect") socket = await connect(command);
  else await obey(socket, command);
}
