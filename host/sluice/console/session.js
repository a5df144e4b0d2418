// One session and its whole story.

import { badge, cell, facts, h, heading, keyed, say, table, text } from "./dom.js";
import { bytes, digest, lasting, rate, time, who } from "./format.js";
import { change, dialog } from "./operator.js";
import { Rates, STAGES } from "./sessions.js";
import { Wave } from "./wave.js";

export function session({ main, argument: id, watch }) {
  const rates = new Rates();
  const stage = h("span", {});
  const problem = h("p", { class: "problem", role: "alert" });
  const end = h("button", { type: "button", class: "danger", click: () => close(id, problem) }, "Close session");
  const story = h("div", {});
  const decisions = h("tbody");
  const wave = new Wave(100, 600, 72);
  const level = h("section", { class: "levels", "aria-label": "Level", hidden: true }, wave.element);
  let last = null;
  main.replaceChildren(
    h("p", { class: "back" }, h("a", { href: "#/sessions" }, "All sessions")),
    heading("Session", stage, end),
    problem,
    h("p", { class: "id" }, id),
    level,
    story,
    h("h2", {}, "Decisions of policies"),
    decisionTable(decisions),
  );

  function told({ session }) {
    if (!session) return over();
    const { up, down } = rates.of(session);
    if (stage.textContent !== session.stage) stage.replaceChildren(badge(session.stage, STAGES[session.stage] ?? "quiet"));
    keepFacts(story, [
      ["User", who(session.user, session.claimed?.user)],
      ["Tenant", who(session.tenant, session.claimed?.tenant)],
      ["Meeting", session.meeting],
      ["Source", session.source],
      ["Route", session.route],
      ["Client", session.client],
      ["Began", `${time(session.began)}, ${lasting(session.age_ms)} ago`],
      ["Received", `${bytes(session.received_bytes)}, ${rate(up)}`],
      ["Sent", `${bytes(session.sent_bytes)}, ${rate(down)}`],
      ["Acknowledged", bytes(session.acknowledged_bytes)],
      ["Backend", session.backend && `${session.backend.address ?? "not connected yet"}, ${session.backend.state}`],
      ["Recording", session.recording],
      ["Generation", session.generation],
    ]);
    if (JSON.stringify(session.decisions) !== last) {
      last = JSON.stringify(session.decisions);
      showDecisions(decisions, session.decisions);
    }
  }

  function over() {
    end.hidden = true;
    level.hidden = true;
    stage.replaceChildren(badge("over", "quiet"));
    if (story.childElementCount > 0) return;
    story.replaceChildren(
      h("p", { class: "empty" }, "No session of this id is live or parked. ",
        h("a", { href: `#/refusals/${encodeURIComponent(id)}` }, "Was it refused?")),
    );
  }

  function heard({ levels }) {
    level.hidden = false;
    wave.add(levels[id] ?? []);
  }

  watch({ view: "session", session: id }, { session: told, levels: heard });
}

/** Shows names and values, and changes only what has changed. */
export function keepFacts(place, rows) {
  if (place.firstElementChild?.tagName !== "DL") place.replaceChildren(facts(rows));
  const values = place.querySelectorAll("dd");
  rows.forEach(([, value], index) => text(values[index], value));
}

/** Table of decisions. */
export function decisionTable(body) {
  const columns = [["Policy"], ["Answer"], ["Why"], ["Took", "number"], ["At", "number"], ["Digest"]];
  return table("Decisions of policies", columns, body);
}

export function showDecisions(body, decisions) {
  const rows = decisions.map((decision) => {
    const kind = { accept: "good", reject: "bad" }[decision.outcome] ?? "warn";
    const why = [decision.code, decision.message].filter(Boolean).join(": ");
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, decision.policy),
      cell("Answer", null, badge(decision.outcome, kind)),
      cell("Why", "wide", why || "–"),
      cell("Took", "number", `${(decision.duration_us / 1000).toFixed(2)} ms`),
      cell("At", "number", time(decision.at)),
      cell("Digest", "code", h("span", { title: decision.digest ?? "" }, digest(decision.digest))),
    );
  });
  body.replaceChildren(...rows);
}

async function close(id, problem) {
  const reason = h("input", { type: "text", id: "reason", maxlength: "200", autocomplete: "off" });
  const content = [
    h("p", {}, "The client gets an error frame with the reason, and close code 4003. Its stream is sealed, and cannot be resumed."),
    h("label", { for: "reason" }, "Reason, which the client is told"),
    reason,
  ];
  if (!(await dialog("Close session", content, "Close session", () => {}, "danger"))) return;
  problem.textContent = "";
  const words = reason.value.trim();
  const query = words ? `?reason=${encodeURIComponent(words)}` : "";
  try {
    await change(`../sessions/${encodeURIComponent(id)}/close${query}`);
    say("The session was told to end.");
  } catch (error) {
    problem.textContent = error.message;
  }
}
