// One session and its whole story.

import { badge, cell, facts, h, heading, keyed, say, table, text } from "./dom.js";
import { bytes, digest, lasting, rate, time, who } from "./format.js";
import { askForToken, confirmed, hasToken, operatorButton, request } from "./operator.js";
import { STAGES } from "./sessions.js";
import { Wave } from "./wave.js";

export function session({ main, argument: id, watch }) {
  const stage = h("span", {});
  const problem = h("p", { class: "problem", role: "alert" });
  const end = operatorButton("Close session", () => close(id, problem), "danger");
  const revokeUser = operatorButton("Revoke user", () => revoke("user", known.user, problem), "danger", { hidden: true });
  const revokeTenant = operatorButton("Revoke tenant", () => revoke("tenant", known.tenant, problem), "danger", { hidden: true });
  let known = {};
  const story = h("div", {});
  const decisions = h("tbody");
  const wave = new Wave(100, 600, 72);
  const level = h("section", { class: "levels", "aria-label": "Level", hidden: true }, wave.element);
  const saw = recorded(id);
  let last = null;
  main.replaceChildren(
    h("p", { class: "back" }, h("a", { href: "#/sessions" }, "All sessions")),
    heading("Session", stage, h("div", { class: "row" }, revokeUser, revokeTenant, end)),
    problem,
    h("p", { class: "id" }, id),
    level,
    story,
    h("h2", {}, "Decisions of policies"),
    decisionTable(decisions),
    h("h2", {}, "What the policies saw"),
    saw.element,
  );

  function told({ session }) {
    if (!session) return over();
    known = session;
    revokeUser.hidden = !session.user;
    revokeTenant.hidden = !session.tenant;
    if (stage.textContent !== session.stage) stage.replaceChildren(badge(session.stage, STAGES[session.stage] ?? "quiet"));
    keepFacts(story, [
      ["User", who(session.user, session.claimed?.user)],
      ["Tenant", who(session.tenant, session.claimed?.tenant)],
      ["Meeting", session.meeting],
      ["Source", session.source],
      ["Route", session.route],
      ["Client", session.client],
      ["Began", `${time(session.began)}, ${lasting(session.age_ms)} ago`],
      ["Received", `${bytes(session.received_bytes)}, ${rate(session.received_bytes_per_second)}`],
      ["Sent", `${bytes(session.sent_bytes)}, ${rate(session.sent_bytes_per_second)}`],
      ["Acknowledged", bytes(session.acknowledged_bytes)],
      ["Backend", session.backend && `${session.backend.address ?? "not connected yet"}, ${session.backend.state}`],
      ["Recording", session.recording],
      ["Generation", session.generation],
      ["Trace", session.trace_id],
      ["Claims", session.claims.map((key) => key.slice(0, 12)).join(", ") || null],
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

/** Lines of the decision record about a session, once an operator asks for them. */
function recorded(id) {
  const problem = h("p", { class: "problem", role: "alert" });
  const lines = h("div", {});
  const load = operatorButton("Show the record", async () => {
    problem.textContent = "";
    if (!hasToken() && !(await askForToken("The record has claims of tokens, so it needs the operator's token."))) return;
    try {
      const response = await request(`../sessions/${encodeURIComponent(id)}/decisions`);
      if (!response.ok) throw new Error((await response.text()).trim());
      show(await response.json());
    } catch (error) {
      problem.textContent = error.message;
    }
  });

  function show({ recorded, decisions }) {
    const none = recorded ? "The record has no decision about this session yet." : "This gateway records no decisions: see [decisions] in its configuration.";
    const shown = decisions.map((line) => h("details", { class: "saw" },
      h("summary", {}, `${line.policy}, ${line.stage}: ${line.verdict}`, " ", h("span", { class: "quiet" }, `${line.role}, ${line.effect}, ${time(line.time)}`)),
      h("h3", {}, "Input"),
      h("pre", { tabindex: "0" }, JSON.stringify(line.input, null, 2)),
      h("h3", {}, "Calls and answers"),
      h("pre", { tabindex: "0" }, line.calls.length ? JSON.stringify(line.calls, null, 2) : "It asked the gateway nothing.")));
    lines.replaceChildren(...(shown.length > 0 ? shown : [h("p", { class: "empty" }, none)]));
    say(shown.length > 0 ? `${shown.length} decisions are shown.` : none);
  }

  return { element: h("div", {}, load, problem, lines) };
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

function close(id, problem) {
  const reason = h("input", { type: "text", id: "reason", maxlength: "200", autocomplete: "off" });
  return confirmed({
    title: "Close session",
    content: [
      h("p", {}, "The client gets an error frame with the reason, and close code 4003. Its stream is sealed, and cannot be resumed."),
      h("label", { for: "reason" }, "Reason, which the client is told"),
      reason,
    ],
    action: "Close session",
    url: () => {
      const words = reason.value.trim();
      return `../sessions/${encodeURIComponent(id)}/close${words ? `?reason=${encodeURIComponent(words)}` : ""}`;
    },
    problem,
    done: "The session was told to end.",
  });
}

/** What other gateways know of a change; empty if there are none. */
function elsewhere(word) {
  if (word === null) return "";
  if (word === "told") return " The other gateways do the same within a second.";
  return word === "told-later" ? " The other gateways do the same once NATS answers." : " The other gateways are not told: too many orders are in force.";
}

/** Ends all sessions of a user or a tenant, and refuses new ones for a time. */
export function revoke(kind, owner, problem) {
  const reason = h("input", { type: "text", id: "reason", maxlength: "200", autocomplete: "off" });
  const hours = h("select", { id: "hours" },
    [["1", "1 hour"], ["8", "8 hours"], ["24", "1 day"], ["168", "7 days"]].map(([value, word]) => h("option", { value }, word)));
  return confirmed({
    title: `Revoke ${kind} ${owner}`,
    content: [
      h("p", {}, `All sessions of this ${kind} end with close code 4003, and new ones are refused until the time is over.`),
      h("label", { for: "hours" }, "For how long"),
      hours,
      h("label", { for: "reason" }, "Reason, which the clients are told"),
      reason,
    ],
    action: `Revoke ${kind}`,
    url: () => {
      const until = new Date(Date.now() + hours.value * 3_600_000).toISOString();
      const words = reason.value.trim();
      return `../sessions/close?${new URLSearchParams({ [kind]: owner, until, ...(words && { reason: words }) })}`;
    },
    problem,
    done: ({ closed, revoked_until: until, other_gateways: others }) => `${closed} sessions were told to end. New ones are refused until ${until}.${elsewhere(others)}`,
  });
}
