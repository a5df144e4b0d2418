// Drives a page of the console in Chromium, with Playwright. Each line of input is a command, and each is answered with a
// line: {"value": …}, or {"error": …}. FOLDER is for the browser's own files.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

// Only a failing test waits so long.
const TIMEOUT = 60_000;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const installed = new URL("../.browser/", import.meta.url).pathname;
const context = await chromium.launchPersistentContext(process.env.FOLDER, {
  executablePath: `${installed}chromium`,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream"],
  env: { ...process.env, LD_LIBRARY_PATH: `${installed}lib` },
  headless: true,
});
context.setDefaultTimeout(TIMEOUT);
const page = context.pages()[0] ?? (await context.newPage());

// What a page must never do: throw, or try what its policy forbids.
const problems = [];
page.on("pageerror", (error) => problems.push(`${error}`));
page.on("console", (message) => {
  // Answers that the gateway means to give are told by the page itself.
  const answered = message.text().startsWith("Failed to load resource");
  if (message.type() === "error" && !answered) problems.push(message.text());
});
page.on("dialog", (dialog) => problems.push(`a dialog: ${dialog.message()}`));

const find = ({ role, name, label, selector, text }) => {
  if (role) return page.getByRole(role, { name, exact: true });
  if (label) return page.getByLabel(label, { exact: true });
  const found = page.locator(selector);
  return text === undefined ? found : found.filter({ hasText: text });
};

const commands = {
  open: ({ url }) => page.goto(url).then(() => null),
  look: async ({ width, height, scheme }) => {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
  },
  click: (what) => find(what).first().click(),
  fill: ({ value, ...what }) => find(what).fill(value),
  choose: ({ value, ...what }) => find(what).selectOption(value),
  file: ({ path, ...what }) => find(what).setInputFiles(path),
  press: ({ key }) => page.keyboard.press(key),
  wait: (what) => find(what).first().waitFor(),
  gone: (what) => find(what).first().waitFor({ state: "hidden" }),
  text: (what) => find(what).first().innerText(),
  count: (what) => find(what).count(),
  focused: () => page.evaluate(() => `${document.activeElement.tagName} ${document.activeElement.innerText ?? ""}`.trim()),
  // Not by `waitForFunction`: the page's policy forbids what that does.
  until: async ({ script }) => {
    const end = Date.now() + TIMEOUT;
    while (!(await page.evaluate(script))) {
      if (Date.now() > end) throw new Error("it does not become true");
      await page.evaluate(() => new Promise(requestAnimationFrame));
    }
  },
  evaluate: ({ script }) => page.evaluate(script),
  download: async (what) => {
    const [download] = await Promise.all([page.waitForEvent("download"), find(what).first().click()]);
    return { name: download.suggestedFilename(), path: await download.path() };
  },
  shot: ({ path }) => page.screenshot({ path, fullPage: true }).then(() => null),
  // By the tool's protocol, because the page's policy lets no other script in.
  audit: async () => {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() =>
      axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
    );
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
  },
  problems: () => problems,
};

console.log(JSON.stringify({ value: "ready" }));
for await (const line of createInterface({ input: process.stdin })) {
  const { do: command, ...rest } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ value: (await commands[command](rest)) ?? null }));
  } catch (error) {
    const shown = await page.locator("body").innerText().catch(() => "");
    console.log(JSON.stringify({ error: `${command} ${JSON.stringify(rest)}: ${error.message}\n${shown}` }));
  }
}
await context.close();
