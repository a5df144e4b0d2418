// A backend made of the `ws` library, for a test. See backend.py.

import { createHash } from "node:crypto";
import { WebSocketServer } from "ws";

const emit = (event, fields) => console.log(JSON.stringify({ event, ...fields }));

const sockets = new Set();
// What was heard of each session, over all of its connections.
const streams = new Map();

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false }, () =>
  emit("listening", { port: server.address().port }),
);

server.on("connection", (socket, request) => {
  const words = new URL(request.url, "ws://x").searchParams.get("do") ?? "";
  const orders = Object.fromEntries(words.split(",").filter(Boolean).map((word) => [...word.split(":"), ""].slice(0, 2)));
  const say = (message) => socket.send(JSON.stringify(message));
  if ("shout" in orders) {
    // What is said here, all others are told, and then whoever said it.
    socket.on("message", (message) => [...sockets, socket].forEach((other) => other.send(message.toString())));
    return;
  }
  sockets.add(socket);
  const session = request.headers["x-sluice-session"];
  if (!streams.has(session)) streams.set(session, Buffer.alloc(0));
  let heard = 0;
  emit("open", { path: request.url, headers: request.headers });
  socket.on("message", (message, isBinary) => {
    if (isBinary) {
      streams.set(session, Buffer.concat([streams.get(session), message]));
      heard += message.length;
      if ("tell" in orders) say({ type: "heard", bytes: heard });
      if ("confirm" in orders) say({ type: "ack", bytes: streams.get(session).length });
      if ("echo" in orders) socket.send(message);
      if (heard >= Number(orders["close-after"] ?? Infinity)) socket.close(Number(orders.close), "enough");
      if (heard >= Number(orders["abort-after"] ?? Infinity)) socket.terminate();
      return;
    }
    emit("text", { data: message.toString() });
    if ("echo" in orders) return socket.send(message.toString());
    const { type, ...fields } = JSON.parse(message);
    if (type === "replay") {
      const stream = streams.get(session);
      emit("replay", { had: stream.length, ...fields });
      // What it had beyond that comes again.
      streams.set(session, stream.subarray(0, fields.from_bytes));
    } else if (type === "handshake" && "refuse" in orders) {
      say({ type: "error", code: "quota", message: "no quota left", retryable: true });
      socket.close(4100, "no quota left");
    } else if (type === "handshake" && "close" in orders && !("close-after" in orders)) {
      socket.close(Number(orders.close), "who are you");
    } else if (type === "handshake" && !("silent" in orders)) {
      if ("early" in orders) say({ type: "welcome" });
      say({ type: "handshake-ack", ok: true, status: "ready", session_id: "the backend's" });
    } else if (type === "finalize" && !("keep" in orders)) {
      say({ type: "transcript", text: "the last words" });
      say({ type: "status", status: "finalized", words: 3 });
    }
  });
  socket.on("close", (code, reason) => {
    sockets.delete(socket);
    const stream = streams.get(session);
    const sha256 = createHash("sha256").update(stream).digest("hex");
    emit("end", { path: request.url, sha256, bytes: stream.length, code, reason: reason.toString() });
  });
});
