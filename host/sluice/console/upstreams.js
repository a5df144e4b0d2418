// Upstreams and the health of their backends.

import { badge, h, heading, keyed, table, text } from "./dom.js";
import { bytes, count } from "./format.js";
import { Metrics } from "./metrics.js";
import { row } from "./policies.js";

const STATES = { "in-use": "good", probed: "warn", rests: "bad" };

export function upstreams({ main, watch }) {
  const body = h("tbody");
  const backends = h("tbody");
  const noBackends = h("p", { class: "empty" }, "No upstream has a backend.");
  const columns = [["Upstream"], ["Kind"], ["Health", "wide"], ["Lost", "number"], ["Restored", "number"], ["Rests", "number"], ["Held in files", "number"]];
  const backendColumns = [["Address"], ["Upstream"], ["State"], ["Streams", "number"]];
  main.replaceChildren(
    heading("Upstreams"),
    table("Upstreams of the current generation", columns, body),
    h("p", { class: "note" }, "Lost and restored count connections to the backend whose streams were held, since the start."),
    h("h2", {}, "Backends"),
    table("Addresses of backends", backendColumns, backends),
    noBackends,
  );
  let known = [];
  let checks = [];

  watch({ view: "upstreams" }, {
    status: (told) => (checks = told.checks),
    upstreams: (told) => (known = told.upstreams),
    metrics: (metrics) => told(new Metrics(metrics)),
  });

  function told(metrics) {
    keyed(body, known, (upstream) => upstream.name, ({ name }) => row(name, columns), (row, upstream) => {
      const [, kind, health, lost, restored, rests, held] = row.children;
      const of = (name) => metrics.value(name, { upstream: upstream.name });
      text(kind, upstream.kind);
      const check = checks.find((check) => check.name === `upstream ${upstream.name}`);
      const word = check ? check.reason ?? "fine" : "no route uses it";
      if (health.textContent !== word) health.replaceChildren(badge(word, check ? (check.reason ? "bad" : "good") : "quiet"));
      text(lost, count(of("sluice_upstream_lost_total")));
      text(restored, count(of("sluice_upstream_restored_total")));
      text(rests, count(of("sluice_upstream_rests_total")));
      text(held, bytes(of("sluice_upstream_held_bytes")));
    });
    const addresses = known.flatMap((upstream) => upstream.addresses.map((address) => ({ ...address, upstream: upstream.name })));
    noBackends.hidden = addresses.length > 0;
    backends.closest("table").parentElement.hidden = addresses.length === 0;
    keyed(backends, addresses, ({ upstream, address }) => `${upstream} ${address}`, ({ address }) => row(address, backendColumns), (row, backend) => {
      const [, upstream, state, streams] = row.children;
      text(upstream, backend.upstream);
      if (state.textContent !== backend.state) state.replaceChildren(badge(backend.state, STATES[backend.state] ?? "warn"));
      text(streams, count(backend.streams));
    });
  }
}
