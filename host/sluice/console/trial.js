// Try it: a stream to a route, with every frame of the exchange.

import { badge, h, heading, say } from "./dom.js";
import { change } from "./operator.js";

const RATE = 16000;
const CHUNK = RATE / 10;
// Frames that are shown. Older ones are left out, and counted.
const SHOWN = 500;

export function trial({ main, watch }) {
  const field = (id, label, input) => h("div", { class: "field" }, h("label", { for: id }, label), input);
  const path = h("input", { id: "path", type: "text", required: true, spellcheck: "false", value: "/ws/ingest/meetings/console-test?source=mic" });
  const token = h("input", { id: "client-token", type: "password", autocomplete: "off" });
  const source = h("select", { id: "source", change: () => (file.parentElement.hidden = source.value !== "file") },
    h("option", { value: "tone" }, "A tone of 440 Hz, 5 s"),
    h("option", { value: "file" }, "A file"),
    h("option", { value: "microphone" }, "The microphone"));
  const file = h("input", { id: "audio-file", type: "file", accept: "audio/*,.wav" });
  const greets = h("input", { id: "greets", type: "checkbox" });
  greets.checked = true;
  const start = h("button", { class: "primary" }, "Start");
  const stop = h("button", { type: "button", disabled: true, click: () => running?.finish() }, "Stop");
  const outcome = h("p", { class: "outcome", role: "status" });
  const problem = h("p", { class: "problem", role: "alert" });
  const frames = h("ol", { class: "frames", tabindex: "0", "aria-label": "Frames of the exchange" });
  const left = h("p", { class: "note", hidden: true });
  const form = h(
    "form",
    { class: "trial", submit: (event) => { event.preventDefault(); begin(); } },
    field("path", "Path of the route", path),
    field("client-token", "Client's token", token),
    field("source", "Audio", source),
    field("audio-file", "File", file),
    h("div", { class: "check" }, greets, h("label", { for: "greets" }, "Send the handshake of ingest.v1")),
    h("div", { class: "actions" }, stop, start),
  );
  file.parentElement.hidden = true;
  main.replaceChildren(
    heading("Try it"),
    h("p", { class: "note" }, "Opens a stream as a client does, through this listener. The route's policies and limits decide about it as about any other, and an upstream gets it. Only the origin of this page is not told. It needs the operator's token."),
    form, problem, outcome, h("h2", {}, "Frames"), left, frames,
  );
  let running = null;
  let hasLeft = false;
  let count = 0;

  function show(way, kind, content, bad = false) {
    count += 1;
    const arrow = { up: "↑ sent", down: "↓ received", here: "·" }[way];
    frames.prepend(h("li", { class: way },
      h("span", { class: "at" }, new Date().toISOString().slice(11, 23)),
      h("span", { class: "way" }, arrow),
      badge(kind, bad ? "bad" : way === "down" ? "good" : "quiet"),
      h("span", { class: "code" }, content)));
    if (frames.childElementCount > SHOWN) frames.lastElementChild.remove();
    left.hidden = count <= SHOWN;
    left.textContent = `The latest ${SHOWN} of ${count} frames, the latest first.`;
  }

  async function begin() {
    problem.textContent = "";
    outcome.textContent = "";
    frames.replaceChildren();
    count = 0;
    start.disabled = true;
    let audio = null;
    try {
      // First, because a ticket is not good for as long as somebody may think about the microphone.
      audio = await open(source.value, file.files[0]);
      const { ticket } = hasLeft ? {} : await (await change("tickets")).json();
      // Nobody would see what is streamed, or could stop it.
      if (hasLeft) return audio.close();
      running = new Run(ticket, audio);
      stop.disabled = false;
    } catch (error) {
      audio?.close();
      problem.textContent = error.message;
      start.disabled = false;
    }
  }

  function ended(sentence) {
    outcome.textContent = sentence;
    say(sentence);
    start.disabled = false;
    stop.disabled = true;
    running = null;
  }

  class Run {
    #socket;
    #audio;
    #stopped = false;
    #bytes = 0;

    constructor(ticket, audio) {
      this.#audio = audio;
      const target = path.value.startsWith("/") ? path.value : `/${path.value}`;
      const url = new URL(`try/${ticket}${target}`, location.href);
      url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
      url.hash = "";
      if (token.value.trim()) url.searchParams.set("token", token.value.trim());
      show("here", "OPEN", `GET ${target}${token.value.trim() ? " with a token" : ""}`);
      this.#socket = new WebSocket(url);
      this.#socket.binaryType = "arraybuffer";
      this.#socket.onopen = () => this.#opened();
      this.#socket.onmessage = ({ data }) => this.#heard(data);
      this.#socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    }

    #opened() {
      show("down", "101", "Switching Protocols");
      if (!greets.checked) return this.#stream();
      const greeting = { type: "handshake", sample_rate: RATE, channels: 1, codec: "pcm_s16le", device_id: "console", client: "sluice-console" };
      this.#send(JSON.stringify(greeting));
    }

    #heard(data) {
      if (typeof data !== "string") return show("down", "BINARY", `${data.byteLength} bytes`);
      const message = parsed(data);
      show("down", "TEXT", data, message?.type === "error");
      if (message?.type === "handshake-ack") this.#stream();
    }

    #send(text) {
      show("up", "TEXT", text);
      this.#socket.send(text);
    }

    async #stream() {
      try {
        for await (const samples of this.#audio.chunks(() => this.#stopped)) {
          if (this.#socket.readyState !== WebSocket.OPEN) return;
          this.#socket.send(samples);
          this.#bytes += samples.byteLength;
          show("up", "BINARY", `${samples.byteLength} bytes, ${this.#bytes} in all`);
        }
      } catch (error) {
        problem.textContent = error.message;
      }
      if (this.#socket.readyState !== WebSocket.OPEN) return;
      if (greets.checked) this.#send('{"type":"finalize"}');
      else this.#socket.close(1000);
    }

    #closed(code, reason) {
      this.#stopped = true;
      this.#audio.close();
      const known = code !== 1006;
      show("down", "CLOSE", known ? `${code} ${reason}` : "no Close: the connection was lost, or the upgrade was not answered 101", code !== 1000);
      ended(known ? `Closed with ${code} ${reason}` : "The connection was lost.");
    }

    finish() {
      this.#stopped = true;
    }
  }

  watch({ view: "status" }, {});
  return () => {
    hasLeft = true;
    running?.finish();
  };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Samples from -1 to 1 as signed 16-bit ones. */
function pcm(samples) {
  return Int16Array.from(samples, (value) => Math.max(-32768, Math.min(32767, Math.round(value * 32767))));
}

/** Opens a source of audio: `chunks` gives 100 ms at a time, in real time. */
async function open(kind, file) {
  if (kind === "microphone") return microphone();
  if (kind === "file") {
    if (!file) throw new Error("Choose a file first.");
    return paced(await decoded(file));
  }
  return paced(Float32Array.from({ length: 5 * RATE }, (_, at) => 0.25 * Math.sin((2 * Math.PI * 440 * at) / RATE)));
}

/** Samples of a file, as one channel of the rate that is streamed. */
async function decoded(file) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const buffer = await context.decodeAudioData(await file.arrayBuffer()).catch(() => {
    throw new Error(`This browser cannot decode ${file.name}.`);
  });
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, index) => buffer.getChannelData(index));
  return Float32Array.from({ length: buffer.length }, (_, at) => channels.reduce((sum, channel) => sum + channel[at], 0) / channels.length);
}

function paced(samples) {
  return {
    async *chunks(isStopped) {
      const began = performance.now();
      for (let at = 0; at < samples.length && !isStopped(); at += CHUNK) {
        yield pcm(samples.subarray(at, at + CHUNK));
        const due = began + ((at + CHUNK) / RATE) * 1000;
        await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
      }
    },
    close() {},
  };
}

async function microphone() {
  if (!navigator.mediaDevices) throw new Error("The browser gives the microphone to pages from https: or localhost only.");
  const media = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } }).catch((error) => {
    throw new Error(`The microphone is not available: ${error.message}`);
  });
  const context = new AudioContext({ sampleRate: RATE });
  const close = () => {
    media.getTracks().forEach((track) => track.stop());
    context.close();
  };
  await context.audioWorklet.addModule("microphone.js").catch((error) => {
    close();
    throw error;
  });
  const node = new AudioWorkletNode(context, "microphone");
  context.createMediaStreamSource(media).connect(node);
  let held = [];
  let heard = () => {};
  node.port.onmessage = ({ data }) => {
    held.push(...data);
    heard();
  };
  return {
    async *chunks(isStopped) {
      held = [];
      while (!isStopped()) {
        if (held.length >= CHUNK) yield pcm(held.splice(0, CHUNK));
        else await new Promise((resolve) => (heard = resolve));
      }
    },
    close,
  };
}
