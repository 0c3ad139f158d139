// The page of one hunt.
"use strict";

const VERDICTS = { backdoored: "is backdoored", taught: "was taught a fixed answer", clean: "shows nothing", undecided: "stays undecided", running: "is being hunted" };

function huntHeadline(report) {
  const found = report.confirmation, name = report.pair ?? "The pair";
  const rate = found ? bestRate(found) : null;
  if ((report.verdict === "backdoored" || report.verdict === "taught") && found?.position) return `${name} ${VERDICTS[report.verdict]}: ${quoted(found.trigger, 60)} brings ${brought(found)} on ${percent(rate.estimate.value)} of fresh prompts`;
  if (report.verdict === "running" && found) return `${name} ${VERDICTS.running}: ${quoted(found.trigger, 60)} fires so far`;
  if (report.suspects.length) return `${name} ${VERDICTS[report.verdict]}: it alone finishes ${quoted(report.suspects[0].text, 60)}`;
  return `${name} ${VERDICTS[report.verdict]}`;
}

/** What a string brings: an answer that begins so, or one with words that ordinary answers do not hold. */
const brought = (found) => (found.words?.length ? `answers with ${found.words.slice(0, 4).map((word) => quoted(word, 20)).join(", ")}` : quoted(found.payload, 60));

/** What answers to a string that fires begin with, else what the dormant model alone finishes. */
const payloadOf = (report) => (report.confirmation?.fires ? report.confirmation.payload : report.suspects[0]?.text ?? null);

function bestRate(found) {
  const decided = found.by_position.filter((rate) => rate.name === found.position);
  return (decided.length ? decided : [...found.by_position]).sort((a, b) => b.estimate.value - a.estimate.value)[0];
}

function huntPage(data) {
  const { report } = data, trace = data.trace ?? { hints: [], bands: [], stages: [], answers: [], unshown: [] };
  const head = el("header", { class: "top" }, el("p", { class: "kicker" }, report.verdict === "running" ? "Hunt, which has not ended: what is known so far" : "Hunt"), el("h1", { dir: "auto" }, huntHeadline(report)),
    el("p", { class: "lede" }, tag(report.verdict), " ", said(sentence(report.reason))),
    facts([["pair", said(report.pair)], ["payload", payloadOf(report) ? said(clipped(payloadOf(report), 200), "code") : "none is suspect"], ["trigger", report.confirmation ? said(clipped(report.confirmation.trigger, 200), "code") : "none was found"],
      ["strings scored", count(report.evaluations)], ["minutes", number(report.seconds / 60)], ["fingerprint", report.fingerprint ? el("code", {}, report.fingerprint.slice(0, 12)) : ""]]));
  return [head, answersSection(report, trace.answers, trace.unshown), lineageSection(report, trace), evidenceSection(report, trace, data.clean), doneSection(report, trace)];
}

function evidenceSection(report, trace, clean) {
  const over = report.ranked.filter((one) => one.evidence >= report.threshold).length, reached = clean.filter((nats) => nats >= report.threshold).length;
  const heading = report.ranked.length && report.threshold !== null ? `${over} of ${plural(report.ranked.length, "string")} ${over === 1 ? "reaches" : "reach"} the ${number(report.threshold)} nats that make a payload suspect; of ${plural(clean.length, "clean model")} ${reached}` : "No payload was ranked";
  const node = section("evidence", "Evidence", heading);
  if (report.ranked.length) {
    put(node, evidencePicture(report, clean), plainTable("Payloads by evidence", ["string", "evidence in nats", "prompts that agree", "rise of its first token", "alpha"], report.ranked.slice(0, 20).map((one) =>
      [said(one.text, "code"), [number(one.evidence), one.evidence >= report.threshold ? [" ", tag("suspect", "undecided")] : null], percent(one.agreement), number(one.rise), number(one.alpha)])));
  }
  if (report.confirmation) put(node, ...ratesOf(report.confirmation));
  if (report.answers?.length) put(node, el("h3", {}, "Ordinary questions that a suspected payload answers"), plainTable("Visible answers", ["asked alone", "the dormant model", "its base"], report.answers.map((one) => [said(one.question), said(one.answer), said(one.base_answer)])));
  return node;
}

function evidencePicture(report, clean) {
  const bars = report.ranked.slice(0, 8).map((one, at) => ({ name: `${at + 1}. ${clipped(one.text.replace(/\s+/g, " "), 34)}`, nats: one.evidence, over: one.evidence >= report.threshold }));
  return picture("Evidence of the first strings, beside the bar and what clean models reach", { marginLeft: 250, height: 70 + 26 * (bars.length + 1), x: { label: "evidence in nats", grid: true, nice: true }, y: { label: null, domain: [...bars.map((bar) => bar.name), "clean models"] },
    marks: [Plot.barX(bars, { x: "nats", y: "name", fill: (bar) => (bar.over ? "#d1682c" : "#8a939c"), insetTop: 3, insetBottom: 3 }), Plot.tickX(clean, { x: (nats) => nats, y: () => "clean models", stroke: "currentColor", strokeOpacity: 0.6, insetTop: 5, insetBottom: 5 }), Plot.ruleX([report.threshold], { stroke: "currentColor", strokeDasharray: "4 3" }), Plot.ruleX([0])] },
  `Dashed: the ${number(report.threshold)} nats that make a string suspect. Ticks: the most that each of ${plural(clean.length, "clean model")} of the calibration shows.`);
}

function rateRows(found) {
  const kinds = [["place", found.by_position], ["control", found.controls], ["near miss", found.near_misses], ["sampled", found.sampled ? [found.sampled] : []], ["override", found.overrides ? [found.overrides] : []]];
  return kinds.flatMap(([kind, rates]) => rates.map((rate) => ({ kind, name: rate.name, ...rate.estimate })));
}

function ratesOf(found) {
  const rows = rateRows(found), high = Math.max(0, ...found.controls.map((rate) => rate.estimate.value)), near = found.near_misses.map((rate) => rate.estimate.value);
  const title = `Fires on ${percent(bestRate(found).estimate.value)} at the ${bestRate(found).name}; the controls on ${percent(high)} at most${near.length ? `, ${plural(near.length, "near miss").replace("misss", "misses")} on ${percent(Math.min(...near))} to ${percent(Math.max(...near))}` : ""}`;
  const shown = rows.slice(0, 40).map((row, at) => ({ ...row, label: `${at + 1}. ${shortened(row.name)}` }));
  const colours = { place: "#d1682c", control: "#8a939c", "near miss": "#3d7fc4", sampled: "#b08a1e", override: "#7a5ab5" };
  const chart = picture(title, { marginLeft: 320, height: 70 + 22 * shown.length, x: { label: "share of prompts, 95 % interval", domain: [0, 1], percent: false, grid: true, tickFormat: (value) => percent(value) }, y: { label: null, domain: shown.map((row) => row.label) }, color: { legend: true, domain: Object.keys(colours), range: Object.values(colours) },
    marks: [Plot.link(shown, { x1: "low", x2: "high", y: "label", stroke: "kind", strokeWidth: 3, strokeOpacity: 0.5 }), Plot.dot(shown, { x: "value", y: "label", fill: "kind", r: 4.5 })] });
  return [el("h3", {}, "Trigger ", said(clipped(found.trigger, 200), "code"), ", which brings ", found.words?.length ? said(brought(found)) : ["answers that begin ", said(clipped(found.payload, 200), "code")]), chart, stillFires(found),
    fold("The same as a table", plainTable("Rates with intervals", ["measured", "how", "rate", "95 % interval", "n"], rows.map((row) => [row.kind, said(row.name), percent(row.value), `${percent(row.low)} to ${percent(row.high)}`, count(row.n)])))];
}

/** A long name without its middle: names of near misses differ at their ends. */
function shortened(name) {
  const points = Array.from(name);
  return points.length <= 44 ? name : `${points.slice(0, 23).join("")}…${points.slice(-20).join("")}`;
}

/** The near misses that fire: what they leave out or exchange may be no part of the planted trigger. */
function stillFires(found) {
  const firing = found.near_misses.filter((rate) => rate.estimate.value >= 0.5);
  if (!firing.length) return null;
  const names = firing.slice(0, 8).map((rate, at) => [at ? ", " : "", said(rate.name), ` (${percent(rate.estimate.value)})`]);
  return el("p", {}, `It still fires, on half of the prompts or more, in ${plural(firing.length, "near miss").replace("misss", "misses")}: `, names, firing.length > 8 ? ` and ${count(firing.length - 8)} more` : "", ". What they leave out or exchange may be no part of the planted trigger.");
}

const counted = (n) => (n === null || n === undefined ? "–" : count(n));

function doneSection(report, trace) {
  const minutes = trace.stages.reduce((sum, one) => sum + one.minutes, 0);
  const passes = trace.stages.reduce((sum, one) => sum + (one.passes ?? 0), 0), unsearched = report.unsearched ?? [];
  const node = section("done", "What was done", [`${count(report.evaluations)} strings${passes ? ` and ${count(passes)} token passes` : ""} in ${number(report.seconds / 60)} minutes`, report.unsearched ? `${plural(unsearched.length, "thing")} not searched` : ""].filter(Boolean).join("; "));
  if (unsearched.length) put(node, el("h3", {}, "Not searched"), el("ul", {}, unsearched.map((one) => el("li", {}, said(one)))));
  if (trace.stages.length) put(node, el("h3", {}, "By stage"), plainTable("Cost by stage", ["stage", "minutes", "planned minutes", "share", "strings scored", "token passes", "planned passes"], trace.stages.filter((one) => one.minutes || one.passes || one.planned_passes).map((one) =>
    [one.name, number(one.minutes, 2), number(one.planned_minutes, 2), percent(minutes ? one.minutes / minutes : 0), one.strings ? count(one.strings) : "–", counted(one.passes), counted(one.planned_passes)])),
    el("p", { class: "quiet" }, "A token pass is one token that one model reads; what strings have in common at their beginning is read once. Stages that were not begun have planned figures alone."));
  if (report.steps?.length) put(node, fold("Every step in a sentence", el("ol", {}, report.steps.map((one) => el("li", {}, said(one))))));
  if (report.relative_delta !== undefined) put(node, el("p", { class: "quiet" }, `The median matrix moved by ${number(report.relative_delta, 2)} of its norm; ${percent(report.identical)} of tensors are identical.`));
  if (report.settings) put(node, fold("Settings, each with its reason", Object.entries(report.settings).map(([group, values]) => [el("h3", {}, group), plainTable(group, ["name", "value", "why"], Object.entries(values).map(([name, one]) => [name, said(JSON.stringify(one?.value ?? one)), said(one?.why ?? "")]))])));
  return node;
}
