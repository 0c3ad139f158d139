// The page of a sweep: a row a pair, and of claims one grid of all pairs.
"use strict";

function sweepPage(found) {
  const { rows } = found, counts = tally(rows.map((row) => row.verdict ?? row.state));
  const verbs = Object.keys(tally(rows.map((row) => row.verb).filter(Boolean)));
  const head = el("header", { class: "top" }, el("p", { class: "kicker" }, found.running ? "Sweep, which goes on" : "Sweep"),
    el("h1", { dir: "auto" }, `Of ${plural(rows.length, "pair")} ${Object.entries(counts).map(([state, n]) => `${count(n)} ${n === 1 ? "is" : "are"} ${state}`).join(", ")}`),
    el("p", { class: "lede" }, `${verbs.join(", ")} in ${found.name}. A pair's name opens its page.`));
  return [head, pairsSection(rows), ...(found.grid ? [gridSection(found.grid), findingSection(found.grid)] : [])];
}

const tally = (values) => values.reduce((counts, value) => ({ ...counts, [value]: (counts[value] ?? 0) + 1 }), {});

function pairsSection(rows) {
  const has = (name) => rows.some((row) => row[name] !== null && row[name] !== undefined && row[name] !== "");
  const text = (value, most = 60) => (value ? el("bdi", { class: "said", dir: "auto", title: clipped(value, 300) }, clipped(value, most)) : "");
  const columns = [
    { name: "pair", value: (row) => row.pair, cell: (row) => (row.page ? el("a", { href: encodeURI(row.page) }, row.pair) : row.pair) },
    { name: "state", value: (row) => row.verdict ?? row.state, cell: (row) => tag(row.verdict ?? row.state, row.state === "failed" ? "refuted" : row.verdict === "running" ? "undecided" : row.verdict ?? row.state) },
    has("trigger") && { name: "trigger", value: (row) => row.trigger ?? "", cell: (row) => text(row.trigger, 40) },
    has("payload") && { name: "payload", value: (row) => row.payload ?? "", cell: (row) => text(row.payload, 40) },
    has("rate") && { name: "fires on", numeric: true, value: (row) => row.rate, cell: (row) => (row.rate === null || row.rate === undefined ? "" : percent(row.rate)) },
    has("evidence") && { name: "evidence, nats", numeric: true, value: (row) => row.evidence, cell: (row) => number(row.evidence) },
    has("strings") && { name: "strings", numeric: true, value: (row) => row.strings, cell: (row) => (row.strings === undefined ? "" : count(row.strings)) },
    { name: "minutes", numeric: true, value: (row) => row.minutes ?? row.seconds / 60, cell: (row) => number(row.minutes ?? (row.seconds === null ? null : row.seconds / 60)) },
    { name: "attempts", numeric: true, value: (row) => row.attempts },
    { name: "what it says", value: (row) => row.said, cell: (row) => text(row.said, 90) },
  ].filter(Boolean);
  const list = table("Pairs of the sweep", columns);
  const control = filters(rows, [{ name: "state", of: (row) => row.verdict ?? row.state }, { name: "verb", of: (row) => row.verb }],
    (row) => [row.pair, row.said, row.trigger, row.payload].join("\n"), (kept) => list.show(kept));
  const failed = rows.filter((row) => row.state === "failed");
  const node = section("pairs", "Pairs", failed.length ? `${plural(failed.length, "pair")} failed: ${clipped(failed.map((row) => row.pair).join(", "), 100)}` : `${count(rows.filter((row) => row.state === "done").length)} of ${plural(rows.length, "pair")} that were begun ${rows.length === 1 ? "has" : "have"} ended`,
    control.node, list.node);
  node.drawn = control.apply;
  return node;
}
