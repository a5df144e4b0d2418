// Health: whether the gateway can serve, and what will keep it from that.

import { badge, facts, h, heading, keyed, table, text } from "./dom.js";
import { bytes, count, lasting, time } from "./format.js";
import { row } from "./policies.js";
import { keepFacts } from "./session.js";

export function health({ main, watch }) {
  const checks = h("tbody");
  const capacity = h("div", {});
  const keys = h("tbody");
  const noKeys = h("p", { class: "empty" }, "No key set is configured.");
  const certificates = h("tbody");
  const noCertificates = h("p", { class: "empty" }, "No listener speaks TLS.");
  const shared = h("div", {});
  const gateways = h("tbody");
  const neighbours = h("section", { hidden: true });
  const upkeep = h("div", {});
  const cut = h("div", {});
  const checkColumns = [["Check"], ["Result", "wide"]];
  const keyColumns = [["Key set"], ["State"], ["Source"], ["Keys", "number"], ["Fetched"], ["Issuer's clock"], ["Tokens", "number"], ["Expired", "number"], ["Not yet valid", "number"]];
  const certificateColumns = [["Listener"], ["Expires"], ["Revocation list expires"]];
  const gatewayColumns = [["Gateway"], ["Machine"], ["Lease"], ["Renewed"], ["Sessions", "number"], ["Claims", "number"], ["Version"]];
  neighbours.append(h("h2", {}, "Gateways that share NATS"), shared, table("Gateways with a lease", gatewayColumns, gateways));
  main.replaceChildren(
    heading("Health"),
    table("Checks of the readiness", checkColumns, checks),
    h("h2", {}, "Capacity"),
    capacity,
    h("h2", {}, "Keys"),
    table("Key sets", keyColumns, keys),
    noKeys,
    h("p", { class: "note" }, "Tokens and clocks are those of the latest 5 to 10 minutes. Only tokens with a valid signature, issuer and audience count."),
    h("h2", {}, "Certificates"),
    table("Certificates of the listeners", certificateColumns, certificates),
    noCertificates,
    neighbours,
    h("h2", {}, "Upkeep"),
    upkeep,
    cut,
  );

  watch({ view: "status" }, { status: told });

  function told(status) {
    keyed(checks, status.checks, (check) => check.name, ({ name }) => row(name, checkColumns), ({ children: [, result] }, { reason }) => marked(result, reason ?? "fine", reason ? "bad" : "good"));
    const { live, parked } = status.connections;
    const { connections_limit, parked_limit, memory_limit_bytes, open_descriptors, descriptors_limit } = status.capacity;
    keepFacts(capacity, [
      ["Connections", `${count(live)} of ${count(connections_limit)}`],
      ["Parked streams", `${count(parked)} of ${count(parked_limit)}`],
      ["Memory held", `${bytes(status.memory_held_bytes)} of ${bytes(memory_limit_bytes)}`],
      ["File descriptors", open_descriptors === null ? null : `${count(open_descriptors)} of ${descriptors_limit === null ? "any number" : count(descriptors_limit)}`],
    ]);
    listed(keys, noKeys, status.key_sets, ({ name }) => row(name, keyColumns), keySet);
    listed(certificates, noCertificates, status.certificates.map((of) => ({ ...of, name: of.listener })), ({ name }) => row(name, certificateColumns), certificate);
    neighbours.hidden = !status.cluster;
    if (status.cluster) toldOfCluster(status.cluster, status.instance);
    const { state, error, unrecorded } = status.decision_record;
    const lost = unrecorded > 0 ? `${count(unrecorded)} decisions are not in it` : null;
    const { result, trigger, at } = status.last_reload;
    keepFacts(upkeep, [
      ["Decision record", [error ? `${state}: ${error}` : state, lost].filter(Boolean).join(", ")],
      ["Last reload", `${result}, by ${trigger}, ${time(at)}`],
      ["Needs a restart", status.needs_restart.join(", ") || "nothing"],
      ["Stop before this run", stop(status.unclean_stop)],
    ]);
    if (status.unclean_stop && cut.childElementCount === 0) cut.append(...cutSessions(status.unclean_stop));
  }

  function toldOfCluster(cluster, here) {
    const age = cluster.lease_age_ms === null ? "" : `, renewed ${lasting(cluster.lease_age_ms)} ago`;
    keepFacts(shared, [
      ["Connection", `${cluster.connected ? "connected" : "not connected"} since ${time(cluster.since)}`],
      ["Lease", `${cluster.lease}${age}`],
      ["Not acknowledged", `${count(cluster.pending_writes)} ${cluster.pending_writes === 1 ? "write" : "writes"}`],
      ["Gateways read", cluster.gateways_seen ? time(cluster.gateways_seen) : "never"],
    ]);
    keyed(gateways, cluster.gateways, ({ instance }) => instance, ({ instance }) => row(instance, gatewayColumns), (line, gateway) => {
      const [, host, lease, renewed, sessions, claims, version] = line.children;
      text(host, gateway.instance === here ? `${gateway.host}, this gateway` : gateway.host);
      marked(lease, gateway.lease, gateway.lease === "held" ? "good" : "warn");
      text(renewed, time(gateway.renewed));
      text(sessions, count(gateway.sessions));
      text(claims, count(gateway.claims));
      text(version, gateway.version);
    });
  }

  function keySet({ children: [, state, source, number, fetched, clock, tokens, expired, early] }, set) {
    marked(state, set.unavailable ?? (set.error ? "in use, latest fetch failed" : "in use"), set.unavailable ? "bad" : set.error ? "warn" : "good");
    state.title = set.error ?? "";
    text(source, set.source);
    text(number, set.source === "by-issuer" ? null : count(set.keys));
    text(fetched, set.fetched && `${lasting(set.age_ms)} ago`);
    text(clock, ticks(set.clock));
    text(tokens, count(set.clock.tokens));
    text(expired, count(set.clock.expired));
    text(early, count(set.clock.not_yet_valid));
  }
}

/** Keeps a table in step with a list, and shows another sentence while that is empty. */
function listed(body, empty, items, make, update) {
  empty.hidden = items.length > 0;
  body.closest("table").parentElement.hidden = items.length === 0;
  keyed(body, items, ({ name }) => name, make, update);
}

function marked(place, word, kind) {
  if (place.textContent !== word) place.replaceChildren(badge(word, kind));
}

function certificate({ children: [, expires, list] }, { expires: at, revocation_list_expires: until }) {
  text(expires, dayOf(at));
  text(list, dayOf(until));
}

/** A day, and how far away it is. */
function dayOf(at) {
  if (!at) return null;
  const left = new Date(at) - Date.now();
  return left > 0 ? `${at.slice(0, 10)}, in ${lasting(left)}` : `${at.slice(0, 10)}, over`;
}

function ticks({ tokens, ahead_ms, youngest_ms }) {
  if (tokens === 0) return null;
  if (ahead_ms > 0) return `${lasting(ahead_ms)} ahead`;
  return youngest_ms === null ? "unknown: no token has an iat" : `youngest token ${lasting(youngest_ms)} old`;
}

function stop(unclean) {
  if (!unclean) return "clean";
  return `unclean, last seen ${unclean.seen ? time(unclean.seen) : "at an unknown time"}, ${count(unclean.sessions)} ${unclean.sessions === 1 ? "session" : "sessions"} cut`;
}

function cutSessions({ cut, sessions }) {
  if (cut.length === 0) return [];
  const rows = cut.map((session) => [
    session.session,
    [session.route, session.user, session.meeting, session.recording].filter(Boolean).join(", "),
  ]);
  const more = sessions > cut.length ? [h("p", { class: "note" }, `The first ${cut.length} of ${count(sessions)}.`)] : [];
  return [h("h2", {}, "Sessions that were cut"), facts(rows), ...more];
}
