// The feed of a view: server-sent events, read with `fetch`, which can send the token.

import { request } from "./operator.js";

const RETRY = 2000;

/**
 * Opens the feed of a view. `told` is called with the name and the data of each event, and `state` with
 * `open`, or `lost` and why. Returns what closes it.
 */
export function open(wanted, told, state) {
  const ending = new AbortController();
  const query = new URLSearchParams(wanted);
  run(`feed?${query}`, told, state, ending.signal);
  return () => ending.abort();
}

async function run(url, told, state, signal) {
  while (!signal.aborted) {
    try {
      const response = await request(url, { signal });
      if (!response.ok) throw Object.assign(new Error((await response.text()).trim()), { status: response.status });
      state("open");
      await read(response.body, told);
      throw new Error("the gateway has ended the feed");
    } catch (error) {
      if (signal.aborted) return;
      state("lost", error.message, error.status);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY));
  }
}

async function read(body, told) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (held + value).split("\n\n");
    held = events.pop();
    for (const event of events) {
      const lines = event.split("\n");
      const name = lines[0].slice("event: ".length);
      const data = lines.slice(1).map((line) => line.slice("data: ".length)).join("\n");
      told(name, name === "metrics" ? data : JSON.parse(data));
    }
  }
}
