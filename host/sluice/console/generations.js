// What has changed: the start and the latest reloads.

import { badge, cell, h, heading, keyed, table } from "./dom.js";
import { time } from "./format.js";
import { confirmed, operatorButton } from "./operator.js";

export function generations({ main, watch }) {
  const body = h("tbody");
  const columns = [["At"], ["Result"], ["Generation", "number"], ["Trigger"], ["What changed", "wide"], ["Took", "number"]];
  const problem = h("pre", { class: "problem", role: "alert", tabindex: "0", hidden: true });
  // The report of a reload that was refused has many lines.
  new MutationObserver(() => { problem.hidden = problem.textContent === ""; }).observe(problem, { childList: true });
  const reload = operatorButton("Reload", () => confirmed({
    title: "Reload the configuration",
    content: h("p", {}, "The gateway reads its configuration again. Live streams keep the policies that they were admitted with. A configuration with a mistake changes nothing."),
    action: "Reload",
    kind: "",
    url: "../reload",
    problem,
    done: ({ generation }) => `Generation ${generation} serves newcomers.`,
  }));
  main.replaceChildren(heading("Generations", reload), problem, table("The start and the latest reloads", columns, body));

  function row(change) {
    const files = change.changed_files.map((file) => h("li", { class: "code" }, file));
    const options = [["new", change.added], ["gone", change.removed], ["changed", change.changed]].flatMap(([word, names]) =>
      names.map((name) => h("li", {}, h("span", { class: "code" }, name), ` ${word}`)));
    const restart = change.needs_restart.map((option) => h("li", {}, `${option}, after a restart`));
    const report = change.report && h("pre", { tabindex: "0" }, change.report);
    const file = change.file_sha256 && h("p", { class: "code quiet" }, `configuration sha256:${change.file_sha256.slice(0, 12)}`);
    const nothing = files.length + options.length + restart.length === 0 && !report;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, time(change.at)),
      cell("Result", null, badge(change.result, change.result === "swapped" ? "good" : "bad")),
      cell("Generation", "number", change.generation),
      cell("Trigger", null, change.trigger),
      cell("What changed", "wide", h("ul", { class: "plain" }, files, options, restart), report,
        nothing ? h("p", {}, change.trigger === "start" ? "Everything: the gateway started." : "No file.") : null, file),
      cell("Took", "number", `${change.took_ms} ms`),
    );
  }

  watch({ view: "generations" }, {
    generations: ({ generations }) =>
      keyed(body, generations, (change) => `${change.at} ${change.generation} ${change.result}`, row),
  });
}
