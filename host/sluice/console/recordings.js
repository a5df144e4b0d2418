// Recordings: list, play with a waveform, download, delete. All of it needs the operator's token.

import { badge, cell, h, heading, keyed, say, searchField, table, text } from "./dom.js";
import { bytes, count, time } from "./format.js";
import { askForToken, change, dialog, hasToken, request } from "./operator.js";
import { peaks } from "./wav.js";

// What a browser holds in memory to play it. Longer ones can be downloaded.
const MAX_PLAYED = 256 * 1024 * 1024;

export function recordings({ main, watch }) {
  let search = "";
  let playing = null;
  const body = h("tbody");
  const found = h("p", { class: "found", role: "status" });
  const problem = h("p", { class: "problem", role: "alert" });
  const empty = h("p", { class: "empty", hidden: true });
  const player = h("section", { class: "player", "aria-label": "Player", hidden: true });
  const unlock = h("button", { type: "button", class: "primary", click: unlocked }, "Enter the token");
  const locked = h("div", { class: "empty", hidden: true }, h("p", {}, "Recordings need the operator's token. "), unlock);
  const columns = [["Recording", "wide"], ["Written"], ["Size", "number"], ["State"], ["Actions"]];
  main.replaceChildren(
    heading("Recordings", searchField("Search", "tenant, meeting, date, source…", search, (words) => {
      search = words;
      list();
    })),
    found, problem, player, table("Newest recordings", columns, body), empty, locked,
  );

  async function unlocked() {
    if (await askForToken("Whoever hears recordings needs the operator's token.")) list();
  }

  async function list() {
    locked.hidden = hasToken();
    if (!hasToken()) return;
    try {
      const response = await request(`../recordings?${new URLSearchParams({ search })}`);
      if (!response.ok) throw new Error((await response.text()).trim());
      problem.textContent = "";
      told(await response.json());
    } catch (error) {
      problem.textContent = error.message;
    }
  }

  function told({ matching, recordings }) {
    keyed(body, recordings, (recording) => `${recording.path} ${recording.bytes} ${recording.live}`, row);
    const shown = recordings.length < matching ? `, the newest ${count(recordings.length)} shown` : "";
    text(found, `${count(matching)} ${matching === 1 ? "recording" : "recordings"}${shown}`);
    empty.hidden = recordings.length > 0;
    text(empty, search ? "No recording has these words in its path." : "There are no recordings.");
  }

  function row(recording) {
    const name = recording.path.split("/").pop();
    const button = (word, action, kind = null) =>
      h("button", { type: "button", class: kind, "aria-label": `${word} ${name}`, click: () => tried(() => action(recording)) }, word);
    return h(
      "tr",
      {},
      h("th", { scope: "row", class: "wide path" }, recording.path),
      cell("Written", null, time(recording.written)),
      cell("Size", "number", bytes(recording.bytes)),
      cell("State", null, recording.live ? badge("live", "good") : badge("finished", "quiet")),
      cell("Actions", "buttons", button("Play", play), button("Download", download),
        recording.live ? null : button("Delete", remove, "danger")),
    );
  }

  async function tried(action) {
    problem.textContent = "";
    try {
      await action();
    } catch (error) {
      problem.textContent = error.message;
    }
  }

  async function audio({ path }) {
    const response = await request(`../recordings/${path.split("/").map(encodeURIComponent).join("/")}`);
    if (!response.ok) throw new Error((await response.text()).trim());
    return response.blob();
  }

  async function play(recording) {
    if (recording.bytes > MAX_PLAYED) throw new Error("This recording is too long to play here: download it.");
    say("Loading the recording.");
    const blob = await audio(recording);
    stop();
    playing = URL.createObjectURL(blob);
    const sound = h("audio", { controls: true, src: playing, "aria-label": recording.path });
    const bars = peaks(await blob.arrayBuffer(), 600);
    const canvas = h("canvas", { width: 1200, height: 144, class: "wave", role: "img", "aria-label": bars ? "Waveform" : "No waveform: the file is not PCM" });
    canvas.style.setProperty("--width", "100%");
    canvas.style.setProperty("--height", "72px");
    const seek = (event) => {
      if (Number.isFinite(sound.duration)) sound.currentTime = (event.offsetX / canvas.clientWidth) * sound.duration;
    };
    canvas.addEventListener("click", seek);
    sound.addEventListener("timeupdate", () => draw(canvas, bars ?? [], sound.currentTime / sound.duration));
    const hide = h("button", { type: "button", click: stop }, "Close the player");
    player.replaceChildren(h("div", { class: "heading" }, h("h2", { tabindex: "-1" }, recording.path.split("/").pop()), hide), canvas, sound);
    player.hidden = false;
    draw(canvas, bars ?? [], 0);
    player.querySelector("h2").focus();
    // Where the browser does not let a page begin to play, the controls do.
    sound.play().catch(() => {});
  }

  function stop() {
    player.hidden = true;
    player.replaceChildren();
    if (playing) URL.revokeObjectURL(playing);
    playing = null;
  }

  async function download(recording) {
    const url = URL.createObjectURL(await audio(recording));
    h("a", { href: url, download: recording.path.split("/").pop() }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  async function remove(recording) {
    const content = h("p", {}, `${recording.path} is deleted for good.`);
    if (!(await dialog("Delete recording", content, "Delete", () => {}, "danger"))) return;
    await change(`../recordings/${recording.path.split("/").map(encodeURIComponent).join("/")}`, "DELETE");
    say("The recording is deleted.");
    stop();
    await list();
  }

  watch({ view: "status" }, {});
  list();
  return stop;
}

function draw(canvas, bars, part) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  context.clearRect(0, 0, width, height);
  const step = width / bars.length;
  bars.forEach((peak, index) => {
    context.globalAlpha = index / bars.length < part ? 1 : 0.45;
    context.fillStyle = style.getPropertyValue("--wave");
    const tall = Math.max(2, peak * height);
    context.fillRect(index * step, (height - tall) / 2, Math.max(1, step - 1), tall);
  });
  context.globalAlpha = 1;
}
