// Level and waveform of a stream: one bar for each 100 ms, its peak light and its RMS strong.

import { h } from "./dom.js";

/** Level in dB below full scale, from 0 to 1 on a meter that begins at -60. */
const part = (db) => Math.max(0, Math.min(1, (db + 60) / 60));

export class Wave {
  #levels = [];
  #bars;
  #canvas;
  #meter;
  #quiet = 0;

  /** A waveform of this many windows of 100 ms. */
  constructor(bars, width, height) {
    this.#bars = bars;
    this.#canvas = h("canvas", { width: 2 * width, height: 2 * height, class: "wave", "aria-hidden": "true" });
    this.#canvas.style.setProperty("--width", `${width}px`);
    this.#canvas.style.setProperty("--height", `${height}px`);
    this.#meter = h("span", { class: "db", role: "meter", "aria-label": "Peak level", "aria-valuemin": "-96", "aria-valuemax": "0" });
    this.element = h("span", { class: "level" }, this.#canvas, this.#meter);
    this.#say(null);
  }

  /** Adds levels, each `[RMS, peak]` in dB; none if the stream has sent nothing. */
  add(levels) {
    this.#quiet = levels.length > 0 ? 0 : this.#quiet + 1;
    this.#levels.push(...levels);
    this.#levels.splice(0, this.#levels.length - this.#bars);
    // Without audio for a second, the last level is not the level now.
    if (this.#quiet > 5) this.#say(null);
    else if (levels.length > 0) this.#say(Math.max(...levels.map(([, peak]) => peak)));
    this.#draw();
  }

  #say(peak) {
    this.#meter.textContent = peak === null ? "–" : `${peak.toFixed(0)} dB`;
    this.#meter.setAttribute("aria-valuenow", peak === null ? "-96" : peak.toFixed(0));
    this.#meter.setAttribute("aria-valuetext", peak === null ? "no audio" : `${peak.toFixed(0)} dB`);
    this.#meter.classList.toggle("clips", peak !== null && peak > -0.5);
  }

  #draw() {
    const { width, height } = this.#canvas;
    const context = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.#canvas);
    const step = width / this.#bars;
    context.clearRect(0, 0, width, height);
    context.fillStyle = style.getPropertyValue("--line");
    context.fillRect(0, height / 2 - 0.5, width, 1);
    context.fillStyle = style.getPropertyValue("--wave");
    const offset = this.#bars - this.#levels.length;
    for (const [alpha, which] of [[0.4, 1], [1, 0]]) {
      context.globalAlpha = alpha;
      this.#levels.forEach((level, index) => {
        const tall = Math.max(1, part(level[which]) * height);
        context.fillRect((offset + index) * step, (height - tall) / 2, Math.max(1, step - 1), tall);
      });
    }
    context.globalAlpha = 1;
  }
}
