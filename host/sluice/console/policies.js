// Policies: what they answer and how long they take, and whether their shadows agree.

import { badge, cell, h, heading, keyed, table, text } from "./dom.js";
import { count, digest, short } from "./format.js";
import { Metrics } from "./metrics.js";

const STATES = { "in-use": "good", probed: "warn", quarantined: "bad" };

export function policies({ main, watch }) {
  const body = h("tbody");
  const shadows = h("tbody");
  const noShadows = h("p", { class: "empty" }, "No policy has a shadow.");
  const empty = h("p", { class: "empty", hidden: true }, "No policy is configured.");
  const columns = [
    ["Policy"], ["State"], ["Accepted", "number"], ["Rejected", "number"], ["Failed", "number"],
    ["p50", "number"], ["p99", "number"], ["Calls", "number"], ["If it fails"], ["Hooks"], ["Grants"], ["Digest"],
  ];
  const shadowColumns = [["Shadow"], ["Agree", "number"], ["Differ", "number"], ["Failed", "number"], ["Skipped", "number"], ["Agreement", "number"]];
  main.replaceChildren(
    heading("Policies"),
    table("Policies of the current generation", columns, body),
    empty,
    h("p", { class: "note" }, "Counts and durations are since the start. p50 and p99 are read off the buckets of the histogram: they are at most the value shown. The wait for a slot is part of a duration."),
    h("h2", {}, "Shadows"),
    table("What shadows said beside who decided", shadowColumns, shadows),
    noShadows,
  );
  let known = [];

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
      const [, state, accepted, rejected, failures, p50, p99, calls, onFailure, hooks, grants, digests] = row.children;
      if (state.textContent !== policy.state) state.replaceChildren(badge(policy.state, STATES[policy.state] ?? "warn"));
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

/** Bound of a duration in seconds. */
function atMost(seconds) {
  if (seconds === Infinity) return "past all buckets";
  return seconds === null ? "–" : `≤ ${short(seconds)}`;
}

/** Row that begins with a name; its other cells are filled later. */
export function row(name, columns) {
  return h("tr", {}, h("th", { scope: "row" }, name), ...columns.slice(1).map(([column, kind]) => cell(column, kind ?? null)));
}
