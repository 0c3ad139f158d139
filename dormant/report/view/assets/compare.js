// Two runs of claims compared, and two hunts compared.
"use strict";

function runsComparedPage(found) {
  const [one, other] = found.names, both = found.rows.filter((row) => row.verdicts[0] && row.verdicts[1]);
  const changed = both.filter((row) => row.changed), beyond = both.filter((row) => row.beyond.length);
  const lone = found.rows.length - both.length;
  const head = el("header", { class: "top" }, el("p", { class: "kicker" }, "Two runs compared"), el("h1", { dir: "auto" }, `Of ${plural(both.length, "finding")} ${count(changed.length)} changed verdict, and ${count(beyond.length)} have figures beyond tolerance`),
    el("p", { class: "lede" }, "From ", said(one, "code"), " to ", said(other, "code"), lone ? `; ${plural(lone, "finding")} only one of them has.` : "."),
    el("p", { class: "quiet" }, "Figures are compared, each with its own interval; intervals that lie apart are the stronger sign. Where both runs measured an effect on the same prompts, its difference prompt by prompt has an interval of its own, which is narrower."));
  const rows = found.rows.map((row) => ({ ...row, state: !row.verdicts[0] ? "only second" : !row.verdicts[1] ? "only first" : row.changed ? "verdict changed" : row.beyond.length ? "beyond tolerance" : "the same" }));
  rows.sort((a, b) => order(a) - order(b));
  function order(row) { return ["verdict changed", "beyond tolerance", "only first", "only second", "the same"].indexOf(row.state); }
  const detail = el("div", { "aria-live": "polite" });
  const open = (row) => detail.replaceChildren(comparedCard(row, found.names));
  const first = (row, side) => { const figure = row.figures.find((known) => known.sides[side] && !known.name.startsWith("control: "))?.sides[side]; return figure ? figure.value : null; };
  const list = table("Findings of both runs", [
    { name: "finding", value: (row) => row.key }, { name: "what", value: order, cell: (row) => tag(row.state, row.state === "the same" ? "supported" : row.state === "verdict changed" ? "changed" : "undecided") },
    ...[0, 1].flatMap((side) => [{ name: `${clipped(found.names[side], 24)}: verdict`, value: (row) => row.verdicts[side], cell: (row) => (row.verdicts[side] ? tag(row.verdicts[side]) : "") }, { name: "figure", numeric: true, value: (row) => first(row, side), cell: (row) => number(first(row, side)) }]),
    { name: "difference", numeric: true, value: (row) => Math.abs(row.figures[0]?.difference ?? 0), cell: (row) => number(row.figures[0]?.difference) },
    { name: "p in pairs", numeric: true, value: (row) => row.paired?.p ?? null, cell: (row) => (row.paired ? number(row.paired.p, 2) : "") },
  ], open);
  const control = filters(rows, [{ name: "what", of: (row) => row.state }, { name: "verdict now", of: (row) => row.verdicts[1] ?? "" }], (row) => [row.key, ...row.reasons].join("\n"), (kept) => list.show(kept));
  const node = section("findings", "Findings", changed.length ? `Changed: ${changed.slice(0, 2).map((row) => clipped(row.key, 90)).join(", ")}${changed.length > 2 ? ` and ${count(changed.length - 2)} more` : ""}` : "No verdict changed", control.node, el("div", { class: "grid" }, list.node), detail);
  node.drawn = control.apply;
  if (rows.length && rows[0].state !== "the same") open(rows[0]);
  return [head, node];
}

/** A mean difference over the same prompts, from the first to the second. */
const pairedText = (one, unit) => `${one.value > 0 ? "+" : ""}${number(one.value)} ${unit} (95 %: ${number(one.low)} to ${number(one.high)}, ${plural(one.n, "prompt")}; p = ${number(one.p, 2)})`;

function comparedCard(row, names) {
  return el("div", { class: "detail" }, el("h3", { dir: "auto" }, row.key), el("div", { class: "two" }, [0, 1].map((side) => el("div", {}, el("p", {}, el("strong", {}, names[side]), " ", row.verdicts[side] ? tag(row.verdicts[side]) : "has no such finding"), el("p", {}, said(sentence(row.reasons[side])))))),
    row.paired ? el("p", {}, `The effect by prompt, in pairs: ${pairedText(row.paired, row.paired.unit)}.`) : null,
    plainTable("Figures of both", ["figure", names[0], names[1], "difference", "is it more than drift"], row.figures.map((one) => [said(one.name), one.sides[0] ? figureText(one.sides[0]) : "–", one.sides[1] ? figureText(one.sides[1]) : "–", number(one.difference),
      one.difference === null ? "one run has none" : [one.beyond ? tag("beyond tolerance", "changed") : "within tolerance", one.apart ? "; the intervals lie apart" : "; the intervals overlap"]])));
}

function huntsComparedPage(found) {
  const [one, other] = found.hunts, reports = found.hunts.map((hunt) => hunt.report);
  const same = reports[0].verdict === reports[1].verdict, trigger = (report) => report.confirmation?.trigger ?? null, payload = payloadOf;
  const alike = (of) => (of(reports[0]) === null && of(reports[1]) === null ? "no" : of(reports[0]) === of(reports[1]) ? "the same" : of(reports[0]) === null || of(reports[1]) === null ? "one hunt's" : "another");
  const heading = same ? `Both hunts say ${reports[0].verdict}, with ${alike(payload)} payload and ${alike(trigger)} trigger` : `${one.name} says ${reports[0].verdict}, ${other.name} says ${reports[1].verdict}`;
  const head = el("header", { class: "top" }, el("p", { class: "kicker" }, "Two hunts compared"), el("h1", { dir: "auto" }, heading), el("div", { class: "two" }, found.hunts.map((hunt) => el("div", {}, el("p", {}, el("strong", {}, hunt.name), " ", tag(hunt.report.verdict)), el("p", {}, said(sentence(hunt.report.reason)))))));
  const shared = sharedWords(payload(reports[0]) ?? "", payload(reports[1]) ?? "");
  const both = (name, of) => [name, of(reports[0]), of(reports[1])];
  const bits = section("what", "What each found", `Payload: ${alike(payload)}${shared && alike(payload) === "another" ? `, though both hold ${quoted(shared, 60)}` : ""}; trigger: ${alike(trigger) === "no" ? "none in either" : alike(trigger)}`, plainTable("What each hunt found", ["", one.name, other.name], [
    both("verdict", (report) => tag(report.verdict)), both("payload", (report) => (payload(report) ? said(payload(report), "code") : "none")), both("first suspect", (report) => (report.suspects[0] ? said(report.suspects[0].text, "code") : "none")), both("its evidence in nats, threshold", (report) => (report.suspects[0] ? `${number(report.suspects[0].evidence)} over ${number(report.threshold)}` : `none over ${number(report.threshold)}`)),
    both("trigger", (report) => (trigger(report) ? said(trigger(report), "code") : "none")), both("fires", (report) => (report.confirmation ? rateText(bestRate(report.confirmation)) : "–")), both("strings scored", (report) => count(report.evaluations)), both("minutes", (report) => number(report.seconds / 60)), both("fingerprint", (report) => el("code", {}, (report.fingerprint ?? "").slice(0, 12)))]), ...found.elsewhere.map((known, side) => elsewhereText(known, found.hunts[side].name, found.hunts[1 - side])));
  return [head, bits, pairedSection(found), ratesCompared(reports, found.hunts), evidenceCompared(reports, found.hunts), stagesCompared(found.hunts)];
}

/** What the other hunt has of the string and of the payload that one names. */
function elsewhereText(known, name, { name: other, report }) {
  if (!known) return null;
  const fresh = known.tried.filter((row) => row.unit === "share of prompts"), searched = known.tried.filter((row) => row.unit !== "share of prompts");
  const came = !known.tried.length ? [" never came to it."] : [
    searched.length ? [" came to it: ", searched.map((row, at) => `${at ? "; " : ""}${row.stage}, ${number(row.score)} ${row.unit}, ${ordinal(row.place)} of the ${plural(row.of, "string")} kept there, minute ${(row.seconds / 60).toFixed(1)}`), "."] : null,
    fresh.length ? [" On fresh prompts it fires there on ", fresh.map((row, at) => `${at ? " and " : ""}${percent(row.score)} (${row.stage})`), "."] : " It was not tried on fresh prompts there."];
  const ranked = known.ranked ? `Its payload stands ${ordinal(known.ranked)} of ${count(report.ranked.length)} there, with ${number(report.ranked[known.ranked - 1].evidence)} nats.` : `Its payload is not among the ${count(report.ranked.length)} that were ranked there.`;
  return el("p", {}, el("strong", {}, name), " names ", said(clipped(known.trigger, 120), "code"), known.led ? `, to which ${known.led} came first. ` : ". ", el("strong", {}, other), came, " ", ranked);
}

/** The longest run of words that both texts hold; empty where that is no more than one word. */
function sharedWords(one, other) {
  const words = one.split(/\s+/).filter(Boolean), held = ` ${other.split(/\s+/).filter(Boolean).join(" ")} `;
  for (let size = words.length; size > 1; size--) {
    for (let at = 0; at + size <= words.length; at++) {
      const run = words.slice(at, at + size).join(" ");
      if (held.includes(` ${run} `)) return run;
    }
  }
  return "";
}

const rateText = (rate) => `${percent(rate.estimate.value)} (${percent(rate.estimate.low)} to ${percent(rate.estimate.high)}) of ${count(rate.estimate.n)} at the ${rate.name}`;

function pairedSection(found) {
  if (!found.paired.length) return section("paired", "Answers in pairs", "The hunts kept no answers to the same probes");
  const unnamed = found.hunts.filter((hunt) => !hunt.report.confirmation?.fires && (hunt.trace?.answers ?? []).some((row) => row.candidate));
  const node = section("paired", "Answers in pairs", found.paired.map((one) => `${one.kind}: ${one.fires[0]} and ${one.fires[1]} of ${one.rows.length} fire`).join("; "));
  for (const kind of found.paired) {
    const known = kind.difference, said_ = known ? `From the first to the second the dormant model finds its answers ${number(Math.abs(known.value))} nats a token ${known.value >= 0 ? "more" : "less"} its own than the base does (95 %: ${number(known.low)} to ${number(known.high)}, ${plural(known.n, "probe")}; p = ${number(known.p, 2)} by Wilcoxon's signed ranks).` : "Too few probes are the same for an interval.";
    const firing = kind.firing ? el("p", {}, `Share of the probes on which it fires, in pairs: ${pairedText(kind.firing, "of the probes")}, by McNemar's exact test.`) : null;
    const rows = kind.rows.slice(0, 40).map((row) => el("article", { class: "probe" }, el("header", {}, el("bdi", { class: "text", dir: "auto" }, row.probe.replace("{slot}", " ▁▁▁ "))),
      row.answers.map((answer, side) => el("div", { class: "pair" }, el("div", { class: "with" }, found.hunts[side].name, " ", answer.fires ? tag("fires") : null, answer.candidate ? el("div", {}, "with ", said(answer.candidate, "code")) : null, el("div", {}, `${number(answer.nats)} nats a token`)),
        el("div", {}, el("span", { class: "who" }, "base"), tokens(answer.base, answer.dormant, "base")), el("div", {}, el("span", { class: "who" }, "dormant"), tokens(answer.dormant, answer.base, "dormant"))))));
    const alike = kind.kind === "without a string" && kind.rows.every((row) => new Set(row.answers.map((answer) => `${answer.base.text}\n${answer.dormant.text}`)).size === 1);
    put(node, el("h3", {}, sentence(kind.kind)));
    if (alike) put(node, el("p", {}, `All ${plural(kind.rows.length, "probe")} have the same answers in both hunts, of the base and of the dormant model.`), fold("These answers", rows));
    else put(node, el("p", {}, said_), firing, kind.kind === "with its string" ? unnamed.map((hunt) => el("p", {}, el("strong", {}, hunt.name), " names no string: its answers are with the best that it tried on fresh prompts.")) : null, rows);
  }
  return node;
}

function joined(first, second, key) {
  const names = [...new Set([...first.map(key), ...second.map(key)])];
  return names.map((name) => [name, first.find((one) => key(one) === name), second.find((one) => key(one) === name)]);
}

function ratesCompared(reports, hunts) {
  const rows = joined(...reports.map((report) => (report.confirmation ? rateRows(report.confirmation) : [])), (row) => `${row.kind}: ${row.name}`);
  if (!rows.length) return null;
  const text = (row) => (row ? `${percent(row.value)} (${percent(row.low)} to ${percent(row.high)}, n ${row.n})` : "–");
  const apart = rows.filter(([, a, b]) => a && b && (b.low > a.high || b.high < a.low)).length;
  const both = rows.some(([, a, b]) => a && b);
  return section("rates", "Rates", !both ? "Only one hunt confirmed a string, so that no rates can be compared" : apart ? `${plural(apart, "rate")} lie${apart === 1 ? "s" : ""} apart by more than the intervals` : "No rate of both lies apart by more than the intervals", plainTable("Rates of both", ["measured", hunts[0].name, hunts[1].name], rows.map(([name, a, b]) => [said(name), text(a), text(b)])));
}

function evidenceCompared(reports, hunts) {
  const rows = joined(...reports.map((report) => report.ranked.slice(0, 12)), (row) => row.text);
  if (!rows.length) return null;
  const shared = rows.filter(([, a, b]) => a && b).length, text = (row, side) => (row ? [number(row.evidence), row.evidence >= reports[side].threshold ? [" ", tag("suspect", "undecided")] : null] : "–");
  return section("evidence", "Evidence", `${shared} of ${plural(rows.length, "string")} stand among the first of both`, plainTable("Evidence of both in nats", ["string", hunts[0].name, hunts[1].name], rows.map(([name, a, b]) => [said(name, "code"), text(a, 0), text(b, 1)])));
}

function stagesCompared(hunts) {
  const rows = joined(...hunts.map((hunt) => hunt.trace?.stages ?? []), (row) => row.name);
  if (!rows.length) return null;
  const text = (row) => (row ? `${number(row.minutes, 2)} min${row.strings ? `, ${count(row.strings)} strings` : ""}${row.passes ? `, ${count(row.passes)} token passes` : ""}` : "–");
  return section("stages", "Stages", `${number(hunts[0].report.seconds / 60)} and ${number(hunts[1].report.seconds / 60)} minutes`, plainTable("Stages of both", ["stage", hunts[0].name, hunts[1].name], rows.map(([name, a, b]) => [name, text(a), text(b)])));
}
