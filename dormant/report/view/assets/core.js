// Elements, texts and tables. All that a model or a checkpoint said goes through textContent: see el and said.
"use strict";

/** An element; attributes starting with "on" are listeners, children are elements or texts. Texts are never markup. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  put(node, ...children);
  return node;
}

/** Appends what there is of the children. */
const put = (node, ...children) => node.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));

/** What a model said, isolated from the direction of the text around it; long ones fold. */
function said(text, className = "") {
  const whole = String(text ?? "");
  const node = el("bdi", { class: `said ${className}`, dir: "auto" });
  if (whole.length <= LONG) {
    node.textContent = whole;
    return node;
  }
  node.textContent = `${clipped(whole, LONG - 1)} `;
  return el("span", {}, node, el("button", {
    class: "more", type: "button",
    onclick: (event) => { node.textContent = whole; event.currentTarget.remove(); },
  }, `all ${count(whole.length)} characters`));
}
const LONG = 400;

/** A string in quotation marks, short enough for a heading, and isolated (U+2068, U+2069): no sign in it turns what follows. */
const quoted = (text, most = 80) => `“\u2068${clipped(String(text ?? ""), most)}\u2069”`;

/** At most so many characters, never half of one. */
function clipped(text, most) {
  const points = Array.from(text.slice(0, 2 * most + 2));
  return points.length <= most && text.length <= 2 * most + 2 ? text : `${points.slice(0, most).join("")}…`;
}

/**
 * Rows that lie in columns, those that repeat as places in a list of texts (see packed in hunts.py). A row is its number, and made
 * an object only where it is drawn: a page of thirty thousand opens as fast as one of ten.
 */
function columnsOf({ columns, repeated, texts }) {
  const names = Object.keys(columns), size = names.length ? columns[names[0]].length : 0;
  const get = (name, at) => (repeated.includes(name) ? texts[columns[name][at]] : columns[name]?.[at]);
  return { size, get, numbers: () => Array.from({ length: size }, (_, at) => at), row: (at) => Object.fromEntries([["at", at], ...names.map((name) => [name, get(name, at)])]),
    distinct: (name) => [...new Set(columns[name] ?? [])].map((value) => (repeated.includes(name) ? texts[value] : value)) };
}

const count = (value) => Number(value ?? 0).toLocaleString("en");
function percent(value) {
  if (value === null || value === undefined) return "–";
  return value > 0 && value < 0.001 ? "< 0.1 %" : `${(100 * value).toFixed(value > 0 && value < 0.01 ? 1 : 0)} %`;
}
function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(1);
  return String(Number(value.toPrecision(digits)));
}
const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
const sentence = (text) => { const trimmed = String(text ?? "").trim(); return trimmed && `${trimmed[0].toUpperCase()}${trimmed.slice(1)}${/[.!?]$/.test(trimmed) ? "" : "."}`; };

/** A section of the page: its heading says what it shows. */
function section(id, name, heading, ...children) {
  return el("section", { id, "data-name": name, "aria-labelledby": `${id}-h` },
    el("p", { class: "kicker" }, name), el("h2", { id: `${id}-h`, dir: "auto" }, heading), ...children);
}

const facts = (rows) => el("dl", { class: "facts" }, rows.filter((row) => row[1] !== "" && row[1] !== null && row[1] !== undefined)
  .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));

const tag = (text, kind) => el("span", { class: `tag ${kind ?? text}` }, text);
const fold = (title, ...children) => el("details", {}, el("summary", {}, title), ...children);

/** A plain table of cells for few rows. */
function plainTable(caption, heads, rows) {
  return el("div", { class: "scroll-x" }, el("table", { class: "plain" }, el("caption", { class: "unseen" }, caption),
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell)))))));
}

const ROW = 34; // pixels of a row of a long table
const ALL_DRAWN = 150; // rows up to which a table is drawn whole, and so prints whole

/**
 * A table that sorts, and draws only the rows that are in sight where there are many.
 * columns: {name, value(row) for sorting, cell(row) for showing, numeric}. Returns {node, show(rows)}.
 */
function table(caption, columns, onOpen) {
  let rows = [], by = null, up = true, open = -1, drawn = [];
  const body = el("tbody");
  const heads = columns.map((column, at) => el("th", { scope: "col", "aria-sort": "none", class: column.numeric ? "numeric" : "" },
    el("button", { type: "button", class: "sort", onclick: () => sortBy(at) }, column.name)));
  const grid = el("table", { class: "long" }, el("caption", { class: "unseen" }, caption), el("thead", {}, el("tr", {}, heads)), body);
  const frame = el("div", { class: "frame", tabindex: 0, role: "region", "aria-label": caption, onscroll: () => { if (String(sight()) !== String(drawn)) draw(); } }, grid);

  function sortBy(at) {
    up = by === at ? !up : !columns[at].numeric;
    by = at;
    heads.forEach((head, n) => head.setAttribute("aria-sort", n !== at ? "none" : up ? "ascending" : "descending"));
    arrange();
    frame.scrollTop = 0;
    draw();
  }
  function arrange() {
    if (by === null) return;
    const value = columns[by].value, way = up ? 1 : -1;
    const known = rows.map((row) => [value(row), row]);
    known.sort(([a], [b]) => {
      const missing = (a === null || a === undefined || a === "") - (b === null || b === undefined || b === "");
      return missing || way * (a < b ? -1 : a > b ? 1 : 0);
    });
    rows = known.map(([, row]) => row);
  }
  function line(row, at) {
    const cells = columns.map((column) => el("td", { class: column.numeric ? "numeric" : "" }, column.cell ? column.cell(row) : String(column.value(row) ?? "")));
    const node = el("tr", { "aria-rowindex": at + 2, class: row === open ? "open" : "" }, cells);
    if (onOpen) {
      node.tabIndex = 0;
      node.addEventListener("click", () => { open = row; onOpen(row); draw(); });
      node.addEventListener("keydown", (event) => { if (event.key === "Enter") { open = row; onOpen(row); } });
    }
    return node;
  }
  /** The rows from and to which the table is drawn. */
  function sight() {
    if (rows.length <= ALL_DRAWN) return [0, rows.length];
    const from = Math.max(0, Math.floor(frame.scrollTop / ROW) - 10);
    return [from, Math.min(rows.length, from + Math.ceil((frame.clientHeight || 480) / ROW) + 20)];
  }
  function draw() {
    const [from, to] = (drawn = sight());
    const space = (size) => (size ? [el("tr", { class: "space", "aria-hidden": "true" }, el("td", { colspan: columns.length, style: `height:${size}px` }))] : []);
    grid.setAttribute("aria-rowcount", rows.length + 1);
    const focus = document.activeElement, within = body.contains(focus) ? focus.closest("tr") : null, held = within?.getAttribute("aria-rowindex");
    const controls = (row) => [...row.querySelectorAll("button, a")], nth = within ? controls(within).indexOf(focus) : -1;
    body.replaceChildren(...space(from * ROW), ...rows.slice(from, to).map((row, n) => line(row, from + n)), ...space((rows.length - to) * ROW));
    const again = held && body.querySelector(`[aria-rowindex="${held}"]`);
    if (again) (controls(again)[nth] ?? again).focus({ preventScroll: true });
  }
  return { node: frame, show(found) { rows = [...found]; arrange(); frame.scrollTop = 0; draw(); }, mark(row) { open = row; draw(); } };
}

/** Controls that filter rows; `changed` gets a test of a row. choices: [{name, values, of(row)}], where of may give several values; text(row) is searched. */
function filters(rows, choices, text, changed) {
  const searched = new Map();
  const said = (row) => { if (!searched.has(row)) searched.set(row, text(row).toLowerCase()); return searched.get(row); };
  const selects = choices.map((choice) => {
    const values = choice.values ?? named(rows.flatMap(choice.of));
    if (values.length < 2 && !choice.always) return null;
    const select = el("select", { onchange: apply }, el("option", { value: "" }, "all"), values.map((value) => el("option", { value }, clipped(String(value), 60))));
    return { choice, select, node: el("label", {}, el("span", {}, choice.name), select) };
  }).filter(Boolean);
  const box = el("input", { type: "search", placeholder: "Search all text", "aria-label": "Search all text", oninput: apply });
  const shown = el("output", { class: "shown", "aria-live": "polite" });
  function apply() {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = selects.filter(({ select }) => select.value);
    const found = !chosen.length && !words.length ? rows : rows.filter((row) => chosen.every(({ choice, select }) => [choice.of(row)].flat().some((value) => String(value) === select.value)) && words.every((word) => said(row).includes(word)));
    shown.textContent = found.length === rows.length ? `all ${count(rows.length)}` : `${count(found.length)} of ${count(rows.length)}`;
    changed(found, words);
  }
  const node = el("div", { class: "filters", role: "search" }, box, selects.map((one) => one.node), shown);
  return { node, apply, reset() { box.value = ""; selects.forEach(({ select }) => { select.value = ""; }); apply(); } };
}

/** The values that have a name, each once and in order. */
const named = (values) => [...new Set(values)].filter((value) => value !== "" && value !== null).sort();

/** A copyable link to a part of the page. */
const anchor = (id, what) => el("a", { class: "anchor", href: `#${id}`, "aria-label": `link to ${what}` }, "#");
