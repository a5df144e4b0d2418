// The console: which view is open, and how the gateway is.

import { h, keyed, text } from "./dom.js";
import { open } from "./feed.js";
import { bytes, count, lasting } from "./format.js";
import { askForToken, confirmed, forget, hasToken, learn, onChange, operatorButton } from "./operator.js";
import { generations } from "./generations.js";
import { health } from "./health.js";
import { policies } from "./policies.js";
import { recordings } from "./recordings.js";
import { refusals } from "./refusals.js";
import { session } from "./session.js";
import { sessions } from "./sessions.js";
import { trial } from "./trial.js";
import { upstreams } from "./upstreams.js";

// Each view shows itself in `main`, and says what it wants to be told: `watch(wanted, handlers)`.
const VIEWS = [
  ["sessions", "Sessions", sessions],
  ["refusals", "Refusals", refusals],
  ["policies", "Policies", policies],
  ["upstreams", "Upstreams", upstreams],
  ["health", "Health", health],
  ["generations", "Generations", generations],
  ["recordings", "Recordings", recordings],
  ["try", "Try it", trial],
];

// Difference of clocks that is a problem, in milliseconds.
const CLOCKS_DIFFER = 5000;

const main = document.querySelector("#main");
const state = document.querySelector("#state");
const operator = document.querySelector("#operator");
const problem = document.querySelector("#problem");
const drain = operatorButton("Drain", () => drained(drain.textContent === "Drain"), "small");
let close = () => {};
let leave = () => {};
let again = () => {};
let asked = false;

function show() {
  const [, name, ...rest] = location.hash.split("/");
  const argument = rest.length > 0 ? decodeURIComponent(rest.join("/")) : null;
  const [id, , view] = VIEWS.find(([id]) => id === name) ?? VIEWS[0];
  for (const link of document.querySelectorAll("#views a")) {
    if (link.hash === `#/${id}`) {
      link.setAttribute("aria-current", "page");
      // On a phone the views are in a row that scrolls.
      link.scrollIntoView({ block: "nearest", inline: "center" });
    } else link.removeAttribute("aria-current");
  }
  close();
  leave();
  const place = { main, argument, watch };
  leave = (id === "sessions" && argument !== null ? session : view)(place) ?? (() => {});
  main.querySelector("h1")?.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function watch(wanted, handlers) {
  again = () => watch(wanted, handlers);
  close();
  close = open(
    wanted,
    (name, data) => {
      if (name === "status") status(data);
      if (name === "role") learn(data);
      handlers[name]?.(data);
    },
    (now, why, status) => {
      if (status === 401 && !asked) {
        asked = true;
        askForToken("This gateway shows nothing without a token.");
      }
      if (now === "lost") shown("lost", `Not connected: ${why}. Trying again.`);
      document.body.classList.toggle("stale", now === "lost");
    },
  );
}

/** Takes the gateway out of service, or back into it. */
function drained(out) {
  return confirmed({
    title: out ? "Drain the gateway" : "Take newcomers again",
    content: h("p", {}, out
      ? "Newcomers are refused with 1001 and advice when to come back, and /readyz says 503. Live streams go on."
      : "Newcomers are taken again, and /readyz answers 200 if all else is well."),
    action: out ? "Drain" : "Undrain",
    url: out ? "../drain" : "../undrain",
    kind: out ? "danger" : "",
    problem,
    done: out ? "The gateway drains." : "The gateway takes newcomers.",
  });
}

function shown(kind, sentence) {
  state.className = `state ${kind}`;
  text(state, sentence);
}

function status(told) {
  const failed = told.checks.filter((check) => check.reason !== null);
  if (told.draining) shown("warn", "Draining");
  else if (failed.length > 0) shown("bad", "Not ready");
  else shown("good", "Ready");
  text(drain, told.draining ? "Undrain" : "Drain");
  const cut = told.unclean_stop;
  const alerts = [
    ...failed.map((check) => `${check.name}: ${check.reason}`),
    ...told.needs_restart.map((option) => `${option} takes effect after a restart`),
    ...(cut ? [`The gateway before this one has not stopped cleanly, and cut ${count(cut.sessions)} ${cut.sessions === 1 ? "session" : "sessions"}`] : []),
    ...behind(told),
    ...(told.last_reload.result === "refused" ? ["The last reload was refused: see Generations"] : []),
  ];
  keyed(document.querySelector("#alerts"), alerts, (alert) => alert, (alert) => h("li", {}, alert));
  const { live, streaming, parked } = told.connections;
  const figures = [
    ["live", "Live", count(live)],
    ["streaming", "Streaming", count(streaming)],
    ["parked", "Parked", count(parked)],
    ["claims", "Claims", count(told.claims)],
    ["memory", "Held", bytes(told.memory_held_bytes)],
    ["generation", "Generation", count(told.generation)],
    ["uptime", "Up", lasting(told.uptime_ms)],
    ["version", "Version", `${told.version} · ${told.instance}`],
  ];
  keyed(
    document.querySelector("#figures"),
    figures,
    ([id]) => id,
    ([id, name]) => h("div", {}, h("dt", {}, name), h("dd", { "data-figure": id })),
    (child, [, , value]) => text(child.lastElementChild, value),
  );
}

/** What does not keep the gateway from serving, and must be looked at. */
function behind({ certificates, decision_record: record, key_sets: sets }) {
  const old = (at) => at !== null && new Date(at) < Date.now();
  return [
    ...sets.filter((set) => set.error && !set.unavailable).map((set) => `key set ${set.name}: the latest fetch failed: ${set.error}`),
    ...sets.filter((set) => set.clock.ahead_ms > CLOCKS_DIFFER).map((set) => `key set ${set.name}: the issuer's clock is ${lasting(set.clock.ahead_ms)} ahead`),
    ...certificates.filter((of) => old(of.expires)).map((of) => `The certificate for ${of.listener} has expired`),
    ...certificates.filter((of) => old(of.revocation_list_expires)).map((of) => `A revocation list for ${of.listener} has expired`),
    ...(record.state === "failing" ? [`Decisions cannot be recorded: ${record.error}`] : []),
  ];
}

document.querySelector("#views").append(
  ...VIEWS.map(([id, name]) => h("li", {}, h("a", { href: `#/${id}` }, name))),
);
operator.addEventListener("click", () => (hasToken() ? forget() : askForToken("You can end sessions with the operator's token.")));
onChange(() => {
  text(operator, hasToken() ? "Forget the token" : "Operator");
  again();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.querySelector("#figures").after(drain);
addEventListener("hashchange", show);
show();
