// Drives Chromium for a test. See client.py: the same commands, the same events, from a web page. Its first line is the
// page's origin. FOLDER is for the browser's own files.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

const emit = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const page = readFileSync(new URL("browser.html", import.meta.url));

let loaded;
const commands = new Promise((resolve) => (loaded = resolve));
const server = createServer(async (request, response) => {
  if (request.url === "/commands") {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(":\n\n");
    loaded(response);
  } else if (request.url === "/event") {
    let event = "";
    for await (const part of request) event += part;
    emit(JSON.parse(event));
    response.end();
  } else {
    response.writeHead(request.url === "/" ? 200 : 404, { "content-type": "text/html" });
    response.end(request.url === "/" ? page : "");
  }
}).listen(0, "127.0.0.1");
await once(server, "listening");
const origin = `http://127.0.0.1:${server.address().port}`;
emit({ event: "text", data: origin });

const installed = new URL("../.browser/", import.meta.url).pathname;
const flags =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking " +
  "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe";
// It ends when nobody holds the other ends of the pipe any more, and so with this process, whatever ends that.
const browser = spawn(
  `${installed}chromium`,
  [...flags.split(" "), `--user-data-dir=${process.env.FOLDER}`, origin],
  {
    env: { ...process.env, LD_LIBRARY_PATH: `${installed}lib` },
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
  },
);
browser.on("error", (error) => {
  throw error;
});
browser.on("exit", (code) => {
  emit({ event: "failed", error: `the browser ended with ${code}` });
  process.exit(1);
});

const stream = await commands;
for await (const line of createInterface({ input: process.stdin })) stream.write(`data: ${line}\n\n`);
