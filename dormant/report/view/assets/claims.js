// The page of a run of claims: the grid as a table whose cells open the findings.
"use strict";

const VERDICT_ORDER = ["supported", "refuted", "inconclusive", "invalid"];

function claimsPage(found) {
  const { findings } = found, counts = VERDICT_ORDER.map((verdict) => [verdict, findings.filter((one) => one.verdict === verdict).length]).filter(([, n]) => n);
  const differing = found.ledger.filter((one) => one?.differences.length).length, known = found.ledger.filter(Boolean).length;
  const names = found.pairs.length <= 3 ? found.pairs.join(", ") : plural(found.pairs.length, "pair");
  const head = el("header", { class: "top" }, el("p", { class: "kicker" }, found.running ? "Claims, so far: the run has not ended" : "Claims"),
    el("h1", { dir: "auto" }, `Of ${plural(findings.length, "finding")} on ${names} ${counts.map(([verdict, n]) => `${count(n)} ${n === 1 ? "is" : "are"} ${verdict}`).join(", ")}`),
    el("p", { class: "lede" }, known ? `${differing ? `${plural(differing, "finding")} of ${known} in the ledger ${differing === 1 ? "does" : "do"} not reproduce it.` : `All ${known} that are in the ledger reproduce it.`} ` : "None is in the ledger that was asked. ", found.luck),
    found.pictures.left_out.length ? el("p", { class: "quiet" }, `${plural(found.pictures.left_out.length, "picture")} would make this page too large, or is not there; see the run's folder.`) : null);
  return [head, gridSection(found), findingSection(found)];
}

function gridSection(found) {
  const { findings, pairs } = found;
  const cell = (row, pair) => {
    const at = row.cells[pair];
    if (at === undefined) return "";
    const one = findings[at];
    return el("button", { type: "button", class: `tag ${one.verdict}`, "data-finding": at, "aria-label": `${one.claim} on ${pair}: ${one.verdict}; open`, onclick: (event) => { event.stopPropagation(); location.hash = `finding-${at + 1}`; } }, `${one.verdict} ${number(one.figures[0].value)}`);
  };
  const grid = table("Verdicts by claim and pair", [
    { name: "claim", value: (row) => row.claim }, { name: "parameters", value: (row) => row.label },
    ...pairs.map((pair) => ({ name: pair, value: (row) => (row.cells[pair] === undefined ? null : findings[row.cells[pair]].figures[0].value), cell: (row) => cell(row, pair) })),
    { name: "does it tell", value: (row) => row.tells, cell: (row) => el("span", { title: row.detail }, row.tells) },
    { name: "AUROC of known models", value: (row) => row.auroc },
  ]);
  const of = (row) => Object.values(row.cells).map((at) => findings[at]);
  const control = filters(found.rows, [
    { name: "asked", values: ["blind", "told"], of: (row) => (row.told ? "told" : "blind") }, { name: "claim", of: (row) => row.claim },
    { name: "some verdict", values: VERDICT_ORDER, of: (row) => of(row).map((one) => one.verdict) }, { name: "ledger", values: ["reproduced", "not reproduced", "no entry"], of: (row) => Object.values(row.cells).map((at) => (!found.ledger[at] ? "no entry" : found.ledger[at].differences.length ? "not reproduced" : "reproduced")) },
    { name: "tells", of: (row) => row.tells },
  ], (row) => [row.claim, row.label, ...of(row).flatMap((one) => [one.sentence, one.reason])].join("\n"), (rows) => grid.show(rows));
  const node = section("grid", "Grid", `${plural(found.rows.length, "row")} of claims with parameters, ${plural(pairs.length, "pair")} across`,
    el("p", { class: "quiet" }, "The number is the deciding figure. A cell opens its finding; blind figures need neither trigger nor payload, told ones do."), control.node, el("div", { class: "grid" }, grid.node));
  node.drawn = control.apply;
  return node;
}

function findingSection(found) {
  const node = section("finding", "Finding", "Choose a cell of the grid to see its finding");
  const body = el("div"), top = el("span");
  node.prepend(top);
  put(node, body);
  node.reveal = (id) => {
    const at = Number(/^finding-(\d+)$/.exec(id)?.[1]) - 1, one = found.findings[at];
    if (!one) return;
    body.replaceChildren(...findingCard(one, found, at));
    node.querySelector("h2").textContent = `${one.claim} is ${one.verdict} on ${one.pair}: ${figureText(one.figures[0])}`;
    top.id = id;
  };
  return node;
}

const figureText = (figure) => `${number(figure.value)}${figure.low === figure.high ? "" : ` [${number(figure.low)}, ${number(figure.high)}]`} ${figure.unit}`;

function findingCard(one, found, at) {
  const figures = [...one.figures.map((figure) => [figure, "figure"]), ...one.controls.map((control) => [control.figure, control.beaten ? "beaten control" : "control not beaten", control.name])];
  const deciding = one.figures[0], alike = figures.filter(([figure]) => figure.unit === deciding.unit).map(([figure, kind, name], n) => ({ ...figure, kind, label: `${n + 1}. ${clipped(name ?? figure.name, 44)}` }));
  const step = (to) => (to >= 0 && to < found.findings.length ? el("a", { href: `#finding-${to + 1}` }, to < at ? "← before" : "next →") : null);
  return [
    el("p", {}, tag(one.verdict), " ", said(sentence(one.sentence))), el("p", {}, said(sentence(one.reason))),
    facts([["rule", `${one.rule.comparator} ${number(one.rule.threshold)} ${one.rule.unit}`], ["because", said(one.rule.because)], ["source", said(one.source)], ["asked", one.told ? "told: with the planted trigger or payload" : "blind"],
      ["parameters", Object.entries(one.parameters).map(([name, value]) => `${name} ${value}`).join(", ")], ["n", count(deciding.n)], ["interval by", deciding.method]]),
    alike.length ? picture(`${deciding.name}: ${figureText(deciding)}, rule ${one.rule.comparator} ${number(one.rule.threshold)}`, { marginLeft: 320, height: 80 + 24 * alike.length, x: { label: deciding.unit, grid: true, nice: true }, y: { label: null, domain: alike.map((row) => row.label) }, color: { legend: true, domain: ["figure", "beaten control", "control not beaten"], range: ["#d1682c", "#8a939c", "#7a5ab5"] },
      marks: [Plot.ruleX([one.rule.threshold], { strokeDasharray: "4 3", stroke: "currentColor" }), Plot.link(alike, { x1: "low", x2: "high", y: "label", stroke: "kind", strokeWidth: 3, strokeOpacity: 0.5 }), Plot.dot(alike, { x: "value", y: "label", fill: "kind", r: 4.5 })] }, "Dashed: the threshold, which was fixed before measuring.") : null,
    plainTable("Figures and controls", ["what", "kind", "value with interval", "n", "by"], figures.map(([figure, kind, name]) => [said(name ?? figure.name), kind, figureText(figure), count(figure.n), figure.method])),
    Object.keys(one.premises).length ? [el("h3", {}, "Premises"), el("p", {}, Object.entries(one.premises).map(([name, verdict]) => [premiseLink(found, one, name), " ", tag(verdict), " "]))] : null,
    ledgerPart(found.ledger[at]),
    one.pictures.map((name) => heldPicture(found.pictures, name, `${one.claim} on ${one.pair}: ${one.reason}`)),
    fold("How it was measured", facts([...Object.entries(one.plan), ...Object.entries(found.conditions[one.conditions])].map(([name, value]) => [name, said(value)]))),
    el("p", { class: "quiet" }, anchor(`finding-${at + 1}`, "this finding"), " ", el("a", { href: "#grid" }, "back to the grid"), " ", step(at - 1), " ", step(at + 1)),
  ].flat(9).filter(Boolean);
}

function premiseLink(found, one, name) {
  const at = found.findings.findIndex((other) => other.claim === name && other.pair === one.pair);
  return at < 0 ? name : el("a", { href: `#finding-${at + 1}` }, name);
}

function ledgerPart(kept) {
  if (!kept) return el("p", { class: "quiet" }, "The ledger has no entry of it.");
  const rows = Object.entries(kept.entry.figures).map(([name, figure]) => [said(name), `${number(figure.value, 5)} ${figure.unit}`, `± ${number(figure.tolerance)}`]);
  return [el("h3", {}, kept.differences.length ? "It does not reproduce the ledger" : "It reproduces the ledger"), kept.differences.length ? el("ul", {}, kept.differences.map((one) => el("li", {}, said(one)))) : null,
    fold(`Recorded: ${kept.entry.verdict}`, plainTable("Recorded figures", ["figure", "recorded", "tolerance"], rows))];
}
