// Policies: what they answer and how long they take, and whether their shadows agree.

import { badge, cell, h, heading, keyed, table, text } from "./dom.js";
import { count, digest, short } from "./format.js";
import { Metrics } from "./metrics.js";
import { confirmed, operatorButton } from "./operator.js";

const STATES = { "in-use": "good", probed: "warn", quarantined: "bad" };

export function policies({ main, watch }) {
  const body = h("tbody");
  const shadows = h("tbody");
  const noShadows = h("p", { class: "empty" }, "No policy has a shadow.");
  const empty = h("p", { class: "empty", hidden: true }, "No policy is configured.");
  const columns = [
    ["Policy"], ["State"], ["Accepted", "number"], ["Rejected", "number"], ["Failed", "number"],
    ["p50", "number"], ["p99", "number"], ["Calls", "number"], ["If it fails"], ["Hooks"], ["Grants"], ["Digest", "code"], ["Action", "buttons"],
  ];
  const shadowColumns = [["Shadow"], ["Agree", "number"], ["Differ", "number"], ["Failed", "number"], ["Skipped", "number"], ["Agreement", "number"]];
  const problem = h("p", { class: "problem", role: "alert" });
  main.replaceChildren(
    heading("Policies"),
    problem,
    table("Policies of the current generation", columns, body),
    empty,
    h("p", { class: "note" }, "Counts and durations are since the start. p50 and p99 are read off the buckets of the histogram: they are at most the value shown. The wait for a slot is part of a duration."),
    h("h2", {}, "Shadows"),
    table("What shadows said beside who decided", shadowColumns, shadows),
    noShadows,
  );
  let known = [];
  const actionOf = (policy) => actionButton(policy, problem);

  watch({ view: "policies" }, {
    policies: (told) => {
      known = told.policies;
      empty.hidden = known.length > 0;
    },
    metrics: (metrics) => told(new Metrics(metrics)),
  });

  function told(metrics) {
    keyed(body, known, (policy) => policy.name, ({ name }) => row(name, columns), (row, policy) => {
      const outcomes = metrics.by("sluice_policy_decisions_total", "outcome", { policy: policy.name });
      const failed = [...outcomes].filter(([outcome]) => outcome !== "accept" && outcome !== "reject");
      const problems = failed.filter(([, value]) => value > 0).map(([outcome, value]) => `${outcome} ${count(value)}`);
      const sum = failed.reduce((all, [, value]) => all + value, 0);
      const took = metrics.histogram("sluice_policy_duration_seconds", { policy: policy.name });
      const [, state, accepted, rejected, failures, p50, p99, calls, onFailure, hooks, grants, digests, action] = row.children;
      if (state.textContent !== policy.state) {
        state.replaceChildren(badge(policy.state, STATES[policy.state] ?? "warn"));
        const button = actionOf(policy);
        const hadFocus = action.contains(document.activeElement);
        action.replaceChildren(button);
        if (hadFocus) button.focus();
      }
      text(accepted, count(outcomes.get("accept") ?? 0));
      text(rejected, count(outcomes.get("reject") ?? 0));
      text(failures, sum === 0 ? "0" : problems.join(", "));
      text(p50, atMost(took.quantile(0.5)));
      text(p99, atMost(took.quantile(0.99)));
      text(calls, count(took.count));
      text(onFailure, policy.on_failure);
      text(hooks, policy.hooks.join(", "));
      text(grants, policy.grants.join(", "));
      text(digests, digest(policy.digest));
      digests.title = policy.digest ?? "";
    });
    const watched = metrics.values("sluice_shadow_decisions_total", "policy");
    noShadows.hidden = watched.length > 0;
    shadows.closest("table").parentElement.hidden = watched.length === 0;
    keyed(shadows, watched, (name) => name, (name) => row(name, shadowColumns), (row, name) => {
      const results = metrics.by("sluice_shadow_decisions_total", "result", { policy: name });
      const [agree, differ, failed, skipped] = ["agree", "differ", "failed", "skipped"].map((result) => results.get(result) ?? 0);
      const compared = agree + differ;
      const values = [agree, differ, failed, skipped].map(count);
      values.push(compared === 0 ? "–" : `${((100 * agree) / compared).toFixed(2)} %`);
      values.forEach((value, index) => text(row.children[index + 1], value));
    });
  }
}

/** Button that stops the calls of a policy, or begins them again. */
function actionButton(policy, problem) {
  const { name } = policy;
  const stops = policy.state === "in-use" || policy.state === "probed";
  const word = stops ? "Quarantine" : "Release";
  const press = () => confirmed({
    title: `${word} ${name}`,
    content: h("p", {}, stops
      ? `The policy is not called any more, until it is released. ${policy.on_failure === "closed"
        ? "It fails closed: everybody whom it would decide about is refused with 4007."
        : "It fails open: everybody whom it would decide about is let in."}`
      : "The policy is called again."),
    action: word,
    kind: stops ? "danger" : "",
    url: `../policies/${encodeURIComponent(name)}/${stops ? "quarantine" : "release"}`,
    problem,
    done: stops ? `The policy ${name} is in quarantine.` : `The policy ${name} is called again.`,
  });
  return operatorButton(word, press, stops ? "danger" : null, { "aria-label": `${word} ${name}` });
}

/** Bound of a duration in seconds. */
function atMost(seconds) {
  if (seconds === Infinity) return "past all buckets";
  return seconds === null ? "–" : `≤ ${short(seconds)}`;
}

/** Row that begins with a name; its other cells are filled later. */
export function row(name, columns) {
  return h("tr", {}, h("th", { scope: "row" }, name), ...columns.slice(1).map(([column, kind]) => cell(column, kind ?? null)));
}
