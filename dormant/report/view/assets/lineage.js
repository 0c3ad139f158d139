// How the named string came about: the chain that led to it, all strings, and the best so far of each stage.
"use strict";

/** Its parts are put in once the rest of the page stands: there may be tens of thousands of strings. */
function lineageSection(report, trace) {
  const node = section("lineage", "Lineage", "How the strings came about");
  node.later = () => {
    const kept = JSON.parse(document.getElementById("lineage-data").textContent), rows = columnsOf(kept ?? { columns: {}, repeated: [], texts: [] });
    if (rows.size) fillLineage(node, rows, report, trace);
    else {
      node.querySelector("h2").textContent = "No lineage was kept";
      put(node, el("p", {}, report.verdict === "running" ? "No stage has kept a string yet." : "This hunt kept no lineage: it was made by an older version, or ended before a string was tried."));
    }
  };
  return node;
}

function fillLineage(node, rows, report, trace) {
  const { get } = rows, trigger = report.confirmation?.trigger;
  const end = report.confirmation ? rows.numbers().findLast((at) => get("text", at) === trigger && ["decided", "fires"].includes(get("outcome", at))) : undefined;
  const chain = end === undefined ? [] : ancestors(rows, end);
  const all = `${plural(rows.size, "string")} of ${plural(rows.distinct("stage").length, "stage")}`;
  node.querySelector("h2").textContent = chain.length ? `${chain.length > 1 ? `${quoted(trigger)} came about in ${plural(chain.length, "step")}` : `${quoted(trigger)} was found at once`}: ${all}` : `${all}, and none fires on fresh prompts`;
  const hints = new Map(trace.hints.map((hint) => [hint.text.trim(), hint]));
  const detail = el("div", { class: "chosen", "aria-live": "polite" });
  const follow = (at) => { detail.replaceChildren(chainOf(ancestors(rows, at), hints)); };
  if (chain.length) follow(end);
  const before = (at) => (get("parent", at) === null || get("text", get("parent", at)) === get("text", at) ? "" : get("text", get("parent", at)) ?? "");
  const text = (value, most) => el("bdi", { class: "said", dir: "auto", title: clipped(value, 300) }, clipped(value, most));
  const list = table("All strings of the hunt", [
    { name: "#", numeric: true, value: (at) => at + 1 },
    { name: "stage", value: (at) => get("stage", at) },
    { name: "string", value: (at) => get("text", at), cell: (at) => text(get("text", at), 90) },
    { name: "outcome", value: (at) => get("outcome", at), cell: (at) => tag(get("outcome", at), get("outcome", at) === "refuted" ? "undecided" : get("outcome", at)) },
    { name: "score", numeric: true, value: (at) => get("score", at), cell: (at) => (get("unit", at) === "share of prompts" ? percent(get("score", at)) : number(get("score", at))) },
    { name: "unit", value: (at) => get("unit", at) },
    { name: "place", value: (at) => get("position", at) },
    { name: "took the place of", value: before, cell: (at) => text(before(at), 60) },
    { name: "strings scored", numeric: true, value: (at) => get("strings", at), cell: (at) => (get("strings", at) ? count(get("strings", at)) : "") },
    { name: "minute", numeric: true, value: (at) => get("seconds", at), cell: (at) => (get("seconds", at) / 60).toFixed(1) },
  ], (at) => { follow(at); detail.scrollIntoView({ block: "nearest" }); });
  const choices = [["stage", "stage"], ["outcome", "outcome"], ["place", "position"], ["payload", "payload"]];
  const control = filters(rows.numbers(), choices.map(([name, column]) => ({ name, values: named(rows.distinct(column)), of: (at) => get(column, at) })),
    (at) => `${get("text", at)}\n${get("payload", at)}`, (found) => list.show(found));
  put(node, detail, curves(rows, trace.bands), el("h3", {}, "All strings"), el("p", { class: "quiet" }, "A click, or Enter, follows a string back to where it came from."), control.node, list.node,
    hintsFold(trace.hints));
  control.apply();
}

function ancestors(rows, last) {
  const chain = [], seen = new Set();
  for (let at = last; at !== null && at < rows.size && !seen.has(at); at = rows.get("parent", at)) { seen.add(at); chain.unshift(rows.row(at)); }
  return chain;
}

function chainOf(chain, hints) {
  const row = chain.at(-1);
  return el("div", {}, el("h3", {}, "How ", said(clipped(row.text, 120), "code"), " came about"), el("ol", { class: "chain" }, chain.map((one, at) => {
    const before = chain[at - 1], parts = one.text.split(/\s+/).filter((word) => hints.has(word)).slice(0, 8);
    const how = before && before.text !== one.text ? [" in place of ", said(clipped(before.text, 120), "code")] : [];
    const score = one.score === null || one.score === undefined ? "" : `${one.unit === "share of prompts" ? percent(one.score) : number(one.score)} ${one.unit}`;
    return el("li", { class: at === chain.length - 1 ? "end" : "" }, el("strong", {}, one.stage), " ", tag(one.outcome), " ", said(clipped(one.text, 300), "code"), how,
      el("div", { class: "quiet" }, [score, one.share !== null && one.share !== undefined && one.unit !== "share of prompts" ? `certain on ${percent(one.share)} of prompts` : "", one.position && `at the ${one.position}`, `minute ${(one.seconds / 60).toFixed(1)}`].filter(Boolean).join(" · ")),
      parts.length && at === 0 ? el("div", { class: "quiet" }, "hints: ", parts.map((word, n) => [n ? ", " : "", said(word), ` (${ordinal(hints.get(word).rank)}, ${number(hints.get(word).z, 2)} deviations)`])) : null);
  })));
}

const ordinal = (n) => `${count(n)}${n % 100 > 10 && n % 100 < 14 ? "th" : { 1: "st", 2: "nd", 3: "rd" }[n % 10] ?? "th"}`;

function hintsFold(hints) {
  if (!hints.length) return null;
  return fold(`The first ${count(Math.min(200, hints.length))} hints: pieces at which the delta acts most`, el("p", {}, hints.slice(0, 200).map((hint) => [el("span", {}, `${hint.rank} `, said(hint.text.trim(), "code")), " "])));
}

/** Best so far over the strings that a stage scored, a picture for each unit, with what meaningless strings reach. */
function curves(rows, bands) {
  const units = new Map();
  for (let at = 0; at < rows.size; at++) {
    const [score, strings, ...of] = ["score", "strings", "stage", "position", "payload"].map((name) => rows.get(name, at));
    if (score === null || score === undefined || !(strings > 0)) continue;
    const unit = rows.get("unit", at), key = of.join("\n"), lines = units.get(unit) ?? units.set(unit, new Map()).get(unit);
    const line = lines.get(key) ?? lines.set(key, []).get(key);
    line.push({ x: strings, y: Math.max(line.at(-1)?.y ?? -Infinity, score) });
  }
  const named = ([stage, position, payload]) => [stage, position && `at the ${position}`, payload && `for ${quoted(payload, 30)}`].filter(Boolean).join(", ");
  return el("div", {}, [...units].map(([unit, found]) => {
    const lines = [...found].map(([key, line]) => [named(key.split("\n")), line]);
    const points = lines.flatMap(([name, line]) => thinned(line).map((point) => ({ ...point, name }))), own = bands.filter((band) => band.unit === unit);
    const low = Math.min(...own.map((band) => band.low)), high = Math.max(...own.map((band) => band.high));
    if (new Set(points.map((point) => point.y)).size < 2 || new Set(points.map((point) => point.x)).size < 2) {
      return el("p", {}, `In ${unit} ${lines.map(([name, line]) => `${name}: ${number(line.at(-1).y)}`).join("; ")}${own.length ? `; meaningless strings reach ${number(low)} to ${number(high)}` : ""}.`);
    }
    const title = own.length ? `Best so far, in ${unit}: meaningless strings reach ${number(low)} to ${number(high)}` : `Best so far, in ${unit}`;
    const marks = [Plot.rect(own, { y1: "low", y2: "high", fill: "currentColor", fillOpacity: 0.08 }),
      Plot.line(points, { x: "x", y: "y", stroke: "name", curve: "step-after", strokeWidth: 2 }), Plot.dot(points, { x: "x", y: "y", fill: "name", r: 2.4 })];
    return picture(title, { x: { label: "strings that the stage scored", tickFormat: (n) => (n >= 1000 ? `${n / 1000}k` : String(n)), nice: true, ticks: 6 }, y: { label: unit, nice: true, grid: true }, color: { legend: true, scheme: "observable10" }, height: 300, marks },
      own.length ? `Grey: from the 5th to the 95th of a hundred, of ${[...new Set(own.map((band) => `${count(band.n)} ${band.of}`))].join("; ")}, which is the control.` : "No control was measured in this unit.");
  }));
}

/** At most some hundred points of a rising line: where it rises, and its end. */
function thinned(line) {
  const kept = line.filter((point, at) => at === 0 || at === line.length - 1 || point.y > line[at - 1].y);
  const every = Math.ceil(kept.length / 300);
  return kept.filter((_, at) => at % every === 0 || at === kept.length - 1);
}

/** A drawn picture with its title; the title says what it shows, and is its text for who cannot see it. */
function picture(title, options, note) {
  const chart = Plot.plot({ width: 1080, marginLeft: 60, marginBottom: 44, style: { background: "none", color: "inherit", fontSize: "12px", overflow: "visible" }, ...options, marks: options.marks.filter(Boolean) });
  const svg = chart.tagName === "svg" ? chart : chart.querySelector(":scope > svg");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", title);
  chart.querySelectorAll("g[aria-label]").forEach((part) => part.removeAttribute("aria-label")); // parts of a picture have no names of their own
  return el("figure", {}, el("h3", { dir: "auto" }, title), chart, note ? el("figcaption", {}, note) : null);
}
