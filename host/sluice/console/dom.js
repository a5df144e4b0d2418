// Elements. Texts become text nodes and attributes, never HTML: many of them come from clients.

/** Makes an element. Attributes that are functions are listeners; `null` and `false` are left out. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text where it differs, so that nothing is selected away or read out again. */
export function text(element, value) {
  const shown = value === null || value === undefined || value === "" ? "–" : String(value);
  if (element.textContent !== shown) element.textContent = shown;
}

/** Keeps the children of an element in step with a list: one child for each key, in the list's order. */
export function keyed(parent, items, key, make, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const id = String(key(item));
    let child = before.get(id);
    if (child) before.delete(id);
    else {
      child = make(item);
      child.dataset.key = id;
    }
    // Moving an element takes the focus from it, so what stands right stays.
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update?.(child, item);
  }
  for (const gone of before.values()) {
    if (gone.contains(document.activeElement)) document.querySelector("h1")?.focus();
    gone.remove();
  }
}

/** Says something to who listens to the page. */
export function say(sentence) {
  document.querySelector("#said").textContent = sentence;
}

/** Heading of a view, which gets the focus when the view opens. */
export function heading(title, ...more) {
  document.title = `${title} · Sluice console`;
  return h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, title), ...more);
}

/** Table with a caption for those who do not see it. Columns are `[name, class]`. */
export function table(caption, columns, body) {
  const heads = columns.map(([name, kind]) => h("th", { scope: "col", class: kind }, name));
  const whole = h(
    "table",
    {},
    h("caption", { class: "visually-hidden" }, caption),
    h("thead", {}, h("tr", {}, heads)),
    body,
  );
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" }, whole);
}

/** Cell that says on a small screen what it is. */
export function cell(name, kind, ...children) {
  return h("td", { class: kind, "data-name": name }, ...children);
}

/** Rows of names and values. */
export function facts(rows) {
  return h(
    "dl",
    { class: "facts" },
    rows.map(([name, value, kind]) => [h("dt", {}, name), h("dd", { class: kind }, value ?? "–")]),
  );
}

/** Word with a colour; the word says it all. */
export function badge(word, kind) {
  return h("span", { class: `badge ${kind}` }, word);
}

/** Field for a search that runs while one types. */
export function searchField(label, hint, value, change) {
  let waits;
  const input = h("input", {
    type: "search",
    id: "search",
    placeholder: hint,
    autocomplete: "off",
    spellcheck: "false",
    maxlength: "200",
    input: () => {
      clearTimeout(waits);
      waits = setTimeout(() => change(input.value.trim()), 250);
    },
  });
  input.value = value;
  return h("form", { class: "search", role: "search", submit: (event) => event.preventDefault() },
    h("label", { for: "search" }, label), input);
}
