// How the named string came about: the chain that led to it, all strings, and the best so far of each stage.
"use strict";

function lineageSection(report, trace) {
  const rows = unpacked(trace.lineage).map((row, at) => ({ ...row, at }));
  const end = report.confirmation ? rows.findLast((row) => row.text === report.confirmation.trigger && (row.outcome === "decided" || row.outcome === "fires")) : null;
  const chain = end ? ancestors(rows, end) : [];
  const stages = new Set(rows.map((row) => row.stage));
  const heading = !rows.length ? "No lineage was kept"
    : end ? `${chain.length > 1 ? `${quoted(end.text)} came about in ${plural(chain.length, "step")}` : `${quoted(end.text)} was found at once`}: ${plural(rows.length, "string")} of ${plural(stages.size, "stage")}`
      : `${plural(rows.length, "string")} of ${plural(stages.size, "stage")}, and none fires on fresh prompts`;
  const node = section("lineage", "Lineage", heading);
  if (!rows.length) {
    put(node, el("p", {}, "This hunt kept no lineage: it was made by an older version, or ended before a string was tried."));
    return node;
  }
  const hints = new Map(trace.hints.map((hint) => [hint.text.trim(), hint]));
  const detail = el("div", { class: "chosen", "aria-live": "polite" });
  const follow = (row) => { detail.replaceChildren(chainOf(rows, row, hints)); };
  if (end) follow(end);
  const list = table("All strings of the hunt", [
    { name: "#", numeric: true, value: (row) => row.at + 1 },
    { name: "stage", value: (row) => row.stage },
    { name: "string", value: (row) => row.text, cell: (row) => el("bdi", { class: "said", dir: "auto", title: clipped(row.text, 300) }, clipped(row.text, 90)) },
    { name: "outcome", value: (row) => row.outcome, cell: (row) => tag(row.outcome, row.outcome === "refuted" ? "undecided" : row.outcome) },
    { name: "score", numeric: true, value: (row) => row.score, cell: (row) => (row.unit === "share of prompts" ? percent(row.score) : number(row.score)) },
    { name: "unit", value: (row) => row.unit },
    { name: "place", value: (row) => row.position },
    { name: "took the place of", value: (row) => (row.parent === null ? "" : rows[row.parent]?.text ?? ""), cell: (row) => (row.parent === null || rows[row.parent]?.text === row.text ? "" : el("bdi", { class: "said", dir: "auto" }, clipped(rows[row.parent]?.text ?? "", 60))) },
    { name: "strings scored", numeric: true, value: (row) => row.strings, cell: (row) => (row.strings ? count(row.strings) : "") },
    { name: "minute", numeric: true, value: (row) => row.seconds, cell: (row) => (row.seconds / 60).toFixed(1) },
  ], (row) => { follow(row); detail.scrollIntoView({ block: "nearest" }); });
  const control = filters(rows, [
    { name: "stage", of: (row) => row.stage }, { name: "outcome", of: (row) => row.outcome }, { name: "place", of: (row) => row.position }, { name: "payload", of: (row) => row.payload },
  ], (row) => `${row.text}\n${row.payload}`, (found) => list.show(found));
  put(node, detail, curves(rows, trace.bands), el("h3", {}, "All strings"), el("p", { class: "quiet" }, "A click, or Enter, follows a string back to where it came from."), control.node, list.node,
    hintsFold(trace.hints));
  node.drawn = control.apply;
  return node;
}

function ancestors(rows, row) {
  const chain = [], seen = new Set();
  for (let one = row; one && !seen.has(one.at); one = one.parent === null || one.parent === undefined ? null : rows[one.parent]) { seen.add(one.at); chain.unshift(one); }
  return chain;
}

function chainOf(rows, row, hints) {
  const chain = ancestors(rows, row);
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
  const scored = rows.filter((row) => row.score !== null && row.score !== undefined && row.strings > 0);
  return el("div", {}, [...new Set(scored.map((row) => row.unit))].map((unit) => {
    const lines = new Map();
    for (const row of scored.filter((one) => one.unit === unit)) {
      const name = [row.stage, row.position && `at the ${row.position}`, row.payload && `for ${quoted(row.payload, 30)}`].filter(Boolean).join(", ");
      const line = lines.get(name) ?? [], best = line.at(-1)?.y ?? -Infinity;
      line.push({ x: row.strings, y: Math.max(best, row.score), name });
      lines.set(name, line);
    }
    const points = [...lines.values()].flatMap((line) => thinned(line)), own = bands.filter((band) => band.unit === unit);
    const low = Math.min(...own.map((band) => band.low)), high = Math.max(...own.map((band) => band.high));
    if (new Set(points.map((point) => point.y)).size < 2 || new Set(points.map((point) => point.x)).size < 2) {
      return el("p", {}, `In ${unit} ${[...lines].map(([name, line]) => `${name}: ${number(line.at(-1).y)}`).join("; ")}${own.length ? `; meaningless strings reach ${number(low)} to ${number(high)}` : ""}.`);
    }
    const title = own.length ? `Best so far, in ${unit}: meaningless strings reach ${number(low)} to ${number(high)}` : `Best so far, in ${unit}`;
    const marks = [Plot.rect(own, { y1: "low", y2: "high", fill: "currentColor", fillOpacity: 0.08 }),
      Plot.line(points, { x: "x", y: "y", stroke: "name", curve: "step-after", strokeWidth: 2 }), Plot.dot(points, { x: "x", y: "y", fill: "name", r: 2.4 })];
    return picture(title, { x: { label: "strings that the stage scored", tickFormat: "~s", nice: true, ticks: 6 }, y: { label: unit, nice: true, grid: true }, color: { legend: true, scheme: "observable10" }, height: 300, marks },
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
  return el("figure", {}, el("h3", { dir: "auto" }, title), chart, note ? el("figcaption", {}, note) : null);
}
