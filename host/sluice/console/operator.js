// Who looks: requests with the token of an operator, which is kept in memory alone.

import { h, say } from "./dom.js";

let token = "";
// Whether the gateway says that this token may only read.
let readOnly = false;
const changed = new Set();
const buttons = new Set();

/** Whether there is a token. */
export function hasToken() {
  return token !== "";
}

/** Learns from the gateway what the bearer of the token may do. */
export function learn({ operate }) {
  if (readOnly === (token !== "" && !operate)) return;
  readOnly = !readOnly;
  for (const button of buttons) show(button);
}

/** Button for a change. One who may only read cannot press it, and is told why. */
export function operatorButton(word, action, kind = null, attributes = {}) {
  const button = h("button", { type: "button", class: kind, ...attributes, click: action }, word);
  for (const known of buttons) if (known.wasShown && !known.isConnected) buttons.delete(known);
  buttons.add(button);
  show(button);
  return button;
}

function show(button) {
  button.wasShown = button.wasShown || button.isConnected;
  button.disabled = readOnly;
  if (readOnly) button.title = "Your token may only read.";
  else button.removeAttribute("title");
}

/** Calls `listener` when the token changes. */
export function onChange(listener) {
  changed.add(listener);
}

/** Asks the admin listener, with the token where there is one. */
export async function request(url, options = {}) {
  const headers = new Headers(options.headers);
  if (token) headers.set("authorization", `Bearer ${token}`);
  return fetch(url, { ...options, headers, cache: "no-store" });
}

/** Asks for a change. Returns the answer, or throws a sentence for the operator. */
export async function change(url, method = "POST") {
  if (!token && !(await askForToken("This needs the operator's token."))) {
    throw new Error("Nothing was done: there is no token.");
  }
  const response = await request(url, { method });
  if (response.status === 401 || response.status === 403) {
    keep("");
    throw new Error("The gateway does not take this token for a change.");
  }
  if (!response.ok) throw new Error((await response.text()).trim());
  return response;
}

function keep(next) {
  token = next;
  // The gateway says again what the next one may do.
  learn({ operate: true });
  changed.forEach((listener) => listener());
}

/** Asks for the token in a dialog. Whether there is one now. */
export function askForToken(why) {
  const input = h("input", {
    type: "password",
    id: "token",
    autocomplete: "off",
    required: true,
    "aria-describedby": "token-why",
  });
  const form = [
    h("p", { id: "token-why" }, `${why} It is in the file of admin_token_file, and is forgotten when this page closes.`),
    h("label", { for: "token" }, "Token"),
    input,
  ];
  return dialog("Operator", form, "Use the token", () => {
    keep(input.value.trim());
    say("The token is set.");
  });
}

/** Forgets the token. */
export function forget() {
  keep("");
  say("The token is forgotten.");
}

/** Shows a dialog with a form. Whether it was confirmed, and `confirmed` has been done. */
export function dialog(title, content, action, confirmed, kind = "") {
  return new Promise((resolve) => {
    const cancel = h("button", { type: "button", click: () => element.close() }, "Cancel");
    const form = h(
      "form",
      { method: "dialog", submit: () => { confirmed(); done = true; } },
      h("h2", { id: "dialog-title" }, title),
      content,
      h("div", { class: "actions" }, cancel, h("button", { class: `primary ${kind}` }, action)),
    );
    let done = false;
    const element = h("dialog", { "aria-labelledby": "dialog-title", close: () => {
      element.remove();
      resolve(done);
    } }, form);
    document.body.append(element);
    element.showModal();
  });
}

/** Asks for a confirmation, makes the change, and says what came of it; in `problem`, if it failed. */
export async function confirmed({ title, content, action, url, problem, done, kind = "danger" }) {
  problem.textContent = "";
  if (!(await dialog(title, content, action, () => {}, kind))) return null;
  try {
    const response = await change(typeof url === "function" ? url() : url);
    const answer = await response.json();
    say(typeof done === "function" ? done(answer) : done);
    return answer;
  } catch (error) {
    problem.textContent = error.message;
    return null;
  }
}
