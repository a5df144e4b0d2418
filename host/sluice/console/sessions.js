// Live sessions and parked streams, the newest first.

import { badge, cell, h, heading, keyed, searchField, table, text } from "./dom.js";
import { bytes, count, lasting, rate, shortId, who } from "./format.js";
import { Wave } from "./wave.js";

export const STAGES = { stream: "good", parked: "warn", seal: "quiet", close: "quiet" };

export function sessions({ main, watch }) {
  const waves = new Map();
  let search = "";
  let before = null;
  const body = h("tbody");
  const found = h("p", { class: "found", role: "status" });
  const empty = h("p", { class: "empty", hidden: true });
  const newest = h("button", { type: "button", hidden: true, click: () => page(null) }, "Newest");
  const older = h("button", { type: "button", hidden: true, click: () => page(body.lastElementChild?.dataset.key) }, "Older");
  const columns = [
    ["Session"], ["Stage"], ["Level"], ["User"], ["Meeting"], ["Route"], ["Client"],
    ["Up", "number"], ["Down", "number"], ["Received", "number"], ["Age", "number"],
  ];
  main.replaceChildren(
    heading("Sessions", searchField("Search", "user, meeting, client, stage, id…", search, (words) => {
      search = words;
      page(null);
    })),
    found,
    table("Live sessions and parked streams", columns, body),
    empty,
    h("div", { class: "pages" }, newest, older),
  );

  function page(oldest) {
    before = oldest;
    newest.hidden = before === null;
    watch({ view: "sessions", search, ...(before && { before }) }, { sessions: told, levels: heard });
  }

  function told({ matching, older: more, sessions }) {
    const ids = new Set(sessions.map((session) => session.id));
    for (const id of waves.keys()) if (!ids.has(id)) waves.delete(id);
    keyed(body, sessions, (session) => session.id, row, update);
    older.hidden = !more;
    const shown = sessions.length === matching ? "" : `, ${count(sessions.length)} of them shown`;
    text(found, `${count(matching)} ${matching === 1 ? "session" : "sessions"}${search ? " found" : ""}${shown}`);
    empty.hidden = sessions.length > 0;
    text(empty, search ? "No session has these words." : "Nobody is connected.");
  }

  function heard({ levels }) {
    for (const [id, latest] of Object.entries(levels)) {
      const place = body.querySelector(`tr[data-key="${CSS.escape(id)}"] td[data-name=Level]`);
      if (!place) continue;
      if (!waves.has(id)) waves.set(id, new Wave(40, 80, 20));
      const wave = waves.get(id);
      if (place.firstElementChild !== wave.element) place.replaceChildren(wave.element);
      wave.add(latest);
    }
  }

  function row(session) {
    const link = h("a", { href: `#/sessions/${encodeURIComponent(session.id)}`, title: session.id }, shortId(session.id));
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, link),
      ...columns.slice(1).map(([name, kind]) => cell(name, kind ?? null)),
    );
  }

  function update(row, session) {
    const [, stage, , user, meeting, route, client, up, down, received, age] = row.children;
    if (stage.textContent !== session.stage) stage.replaceChildren(badge(session.stage, STAGES[session.stage] ?? "quiet"));
    text(user, who(session.user, session.claimed?.user));
    text(meeting, [session.meeting, session.source].filter(Boolean).join(" · "));
    text(route, session.route);
    text(client, session.client);
    text(up, rate(session.received_bytes_per_second));
    text(down, rate(session.sent_bytes_per_second));
    text(received, bytes(session.received_bytes));
    received.title = `${session.received_bytes} bytes`;
    text(age, lasting(session.age_ms));
  }

  page(null);
}
