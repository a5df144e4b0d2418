// Refusals as they happen, and why.

import { badge, cell, facts, h, heading, keyed, searchField, table, text } from "./dom.js";
import { count, time, who } from "./format.js";
import { confirmed, operatorButton } from "./operator.js";
import { decisionTable, showDecisions } from "./session.js";

const KEPT = 500;

export function refusals({ main, argument, watch }) {
  let search = argument ?? "";
  let kept = [];
  const body = h("tbody");
  const found = h("p", { class: "found", role: "status" });
  const empty = h("p", { class: "empty", hidden: true });
  const why = h("section", { class: "why", "aria-label": "Why", hidden: true });
  const problem = h("p", { class: "problem", role: "alert" });
  const revoked = h("tbody");
  const revocations = h("section", { hidden: true },
    h("h2", {}, "Refused for a time"),
    table("Users and tenants who are refused for a time", [["Who"], ["Until"], ["Told the clients", "wide"], ["Action"]], revoked));
  let open = null;
  const columns = [["At"], ["Code"], ["Told the client", "wide"], ["User"], ["Meeting"], ["Client"], ["Policy"]];
  main.replaceChildren(
    heading("Refusals", searchField("Search", "user, meeting, code, policy, id…", search, (words) => {
      search = words;
      look();
    })),
    problem,
    found,
    why,
    table("Latest refusals", columns, body),
    empty,
    revocations,
  );

  function look() {
    kept = [];
    body.replaceChildren();
    watch({ view: "refusals", search }, { refusals: told, revocations: toldOfRevocations });
  }

  function told({ refusals }) {
    const known = new Set(kept.map((refusal) => refusal.session));
    const fresh = refusals.filter((refusal) => !known.has(refusal.session));
    kept = [...fresh, ...kept].slice(0, KEPT);
    keyed(body, kept, (refusal) => refusal.session, row);
    text(found, kept.length === KEPT ? `The latest ${KEPT}` : `${count(kept.length)} ${kept.length === 1 ? "refusal" : "refusals"}`);
    empty.hidden = kept.length > 0;
    text(empty, search ? "No refusal that the gateway has kept has these words." : "Nobody was refused since the start.");
    if (argument !== null && search === argument && kept.length === 1 && open === null) show(kept[0], null);
  }

  function toldOfRevocations({ revocations: all }) {
    revocations.hidden = all.length === 0;
    keyed(revoked, all, ({ user, tenant, until }) => JSON.stringify([user, tenant, until]), ({ user, tenant, until, reason }) => {
      const [kind, owner] = user === null ? ["tenant", tenant] : ["user", user];
      const lift = operatorButton("Lift", () => confirmed({
        title: `Lift the revocation of ${kind} ${owner}`,
        content: h("p", {}, `This ${kind} may come again at once.`),
        action: "Lift",
        kind: "",
        url: `../revocations/lift?${new URLSearchParams({ [kind]: owner })}`,
        problem,
        done: `The ${kind} ${owner} may come again.`,
      }), null, { "aria-label": `Lift the revocation of ${kind} ${owner}` });
      return h("tr", {},
        h("th", { scope: "row" }, `${kind} ${owner}`),
        cell("Until", null, time(until)),
        cell("Told the clients", "wide", reason),
        cell("Action", "buttons", lift));
    });
  }

  function row(refusal) {
    const by = refusal.decisions.find((decision) => decision.outcome !== "accept");
    const button = h("button", { type: "button", class: "link", "aria-expanded": "false", click: () => show(refusal, button) }, time(refusal.at));
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, button),
      cell("Code", null, badge(refusal.close_code, refusal.retryable ? "warn" : "bad"), ` ${refusal.code}`),
      cell("Told the client", "wide", refusal.message),
      cell("User", null, who(refusal.user, refusal.claimed?.user)),
      cell("Meeting", null, [refusal.meeting, refusal.source].filter(Boolean).join(" · ") || "–"),
      cell("Client", null, refusal.client),
      cell("Policy", null, by?.policy ?? "–"),
    );
  }

  function show(refusal, button) {
    const closing = open === refusal.session;
    for (const other of body.querySelectorAll("[aria-expanded=true]")) other.setAttribute("aria-expanded", "false");
    open = closing ? null : refusal.session;
    why.hidden = closing;
    if (closing) return;
    button?.setAttribute("aria-expanded", "true");
    const decisions = h("tbody");
    showDecisions(decisions, refusal.decisions);
    const title = h("h2", { tabindex: "-1" }, `Refused with ${refusal.close_code} ${refusal.code}`);
    why.replaceChildren(
      h("div", { class: "heading" }, title, h("button", { type: "button", click: () => {
        show(refusal, null);
        button?.focus();
      } }, "Hide")),
      h("p", { class: "sentence" }, `“${refusal.message}”`),
      facts([
        ["Session", refusal.session, "code"],
        ["At", time(refusal.at)],
        ["Stage", refusal.stage],
        ["Cause", refusal.cause],
        ["Detail", refusal.detail],
        ["Client", refusal.client],
        ["User", who(refusal.user, refusal.claimed?.user)],
        ["Tenant", who(refusal.tenant, refusal.claimed?.tenant)],
        ["Meeting", [refusal.meeting, refusal.source].filter(Boolean).join(" · ") || "–"],
        ["Route", `${refusal.route || "–"}, generation ${refusal.generation}`],
        ["May try again", refusal.retryable ? "yes" : "no"],
        ["Delivery", refusal.delivery],
        ["More", `sluice why ${refusal.session}`, "code"],
      ]),
      decisionTable(decisions),
    );
    title.focus();
  }

  look();
}
