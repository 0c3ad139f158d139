// Base and dormant answers side by side, token by token.
"use strict";

const HOTTEST = 6; // nats of difference at which the colour is full

function answersSection(report, answers, unshown) {
  const string = answers[0]?.candidate, withString = answers.filter((row) => string && row.candidate === string);
  const fired = withString.filter((row) => row.fires).length;
  const base = withString.filter((row) => row.base_fires).length;
  const heading = !answers.length ? (report.verdict === "running" ? "Answers are read when the hunt ends" : "No answers were kept")
    : fired ? `With ${quoted(string)} the dormant model gives the payload on ${fired} of ${plural(withString.length, "probe")}, its base on ${base}`
      : `No string gives a payload on the ${plural(new Set(answers.map((row) => row.probe)).size, "probe")} shown`;
  const list = el("div", { class: "probes" });
  const legend = el("p", { class: "legend quiet" }, "Each token's colour is the difference of its log-probability: ",
    el("i", { style: heat(HOTTEST) }, "dormant likelier"), el("i", { style: heat(-HOTTEST) }, "base likelier"),
    el("span", {}, el("span", { class: "tok differs" }, "underlined"), ": the other model says something else there. Hover, or focus an answer and press ← →, for what each finds likeliest."));
  const missing = unshown.length && report.verdict !== "running" ? el("p", { class: "quiet" }, `The time did not suffice for: ${unshown.join("; ")}.`) : null;
  const node = section("answers", "Side by side", heading, missing);
  if (!answers.length) {
    put(node, report.verdict === "running" ? null : el("p", {}, "This hunt kept no answers: it was made by an older version, or its time was spent before they were read."));
    return node;
  }
  const control = filters(answers, [
    { name: "fires", values: ["fires", "does not"], of: (row) => (row.fires ? "fires" : "does not"), always: true },
    { name: "place", of: (row) => row.position },
    { name: "string", of: (row) => row.candidate || (row.opening ? "made to begin" : "none") },
    { name: "suspect", of: (row) => row.suspect },
  ], (row) => [row.probe, row.candidate, row.opening, row.base.text, row.dormant.text, row.suspect].join("\n"), draw);
  put(node, control.node, legend, list);
  let most = 60;
  function draw(found) {
    const groups = new Map();
    for (const row of found.slice(0, most)) groups.set(row.probe, [...(groups.get(row.probe) ?? []), row]);
    list.replaceChildren(...[...groups].map(([probe, rows]) => probeCard(probe, rows, answers)),
      ...(found.length > most ? [el("button", { type: "button", onclick: () => { most += 200; draw(found); } }, `show ${count(found.length - most)} more`)] : []),
      ...(found.length ? [] : [el("p", { class: "quiet" }, "No answer fits the filters.")]));
  }
  control.apply();
  node.reveal = (id) => { if (!document.getElementById(id)) { most = answers.length; control.reset(); } };
  return node;
}

function probeCard(probe, rows, answers) {
  const [before, after = ""] = probe.split("{slot}");
  const text = el("span", { class: "text" }, el("bdi", { dir: "auto" }, before, el("span", { class: "slot", title: "the string stands here" }, "▁▁▁"), after));
  return el("article", { class: "probe" }, el("header", {}, text, tag(rows[0].position, "place")), rows.map((row) => pairRow(row, `row-${answers.indexOf(row) + 1}`)));
}

function pairRow(row, id) {
  const what = row.candidate ? ["with ", said(clipped(row.candidate, 120), "code")] : row.opening ? ["made to begin ", said(clipped(row.opening, 120), "code")] : ["without a string"];
  const marks = el("span", {}, " ", row.fires ? tag("fires") : null, row.suspect && !row.fires ? tag("holds a suspect", "undecided") : null, " ", anchor(id, "this row"));
  return el("div", { class: "pair", id },
    el("div", { class: "with" }, what, marks, el("div", {}, `${row.nats >= 0 ? "+" : "−"}${number(Math.abs(row.nats))} nats a token`)),
    el("div", {}, el("span", { class: "who" }, "base"), tokens(row.base, row.dormant, "base")),
    el("div", {}, el("span", { class: "who" }, "dormant"), tokens(row.dormant, row.base, "dormant")));
}

/** An answer whose tokens are coloured by the difference, underlined where the other answer parts from it. */
function tokens(answer, other, who) {
  if (!answer.tokens.length) return said(answer.text || "(nothing)", answer.text ? "" : "quiet");
  const shared = common(answer.tokens.map((one) => one.text), other.tokens.map((one) => one.text));
  const spans = answer.tokens.map((one, at) => {
    const span = el("span", { class: `tok${shared.has(at) ? "" : " differs"}`, style: heat(one.dormant - one.base) }, one.text);
    span.reading = one;
    return span;
  });
  let now = -1;
  const node = el("div", { class: "tokens", dir: "auto", tabindex: 0, role: "group", "aria-label": `${who} answer: ${clipped(answer.text, 200)}`,
    onmouseover: (event) => { if (event.target.reading) showReading(event.target); }, onmouseout: hideReading,
    onblur: () => { spans[now]?.classList.remove("now"); now = -1; hideReading(); },
    onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") hideReading();
      if (!step) return;
      event.preventDefault();
      spans[now]?.classList.remove("now");
      now = Math.min(spans.length - 1, Math.max(0, now + step));
      spans[now].classList.add("now");
      showReading(spans[now]);
    } }, spans);
  return node;
}

/** The places of a sequence that stand in its longest common subsequence with another. */
function common(one, other) {
  const size = one.map(() => new Uint16Array(other.length + 1));
  size.push(new Uint16Array(other.length + 1));
  for (let a = one.length - 1; a >= 0; a--) for (let b = other.length - 1; b >= 0; b--) size[a][b] = one[a] === other[b] ? size[a + 1][b + 1] + 1 : Math.max(size[a + 1][b], size[a][b + 1]);
  const shared = new Set();
  for (let a = 0, b = 0; a < one.length && b < other.length;) {
    if (one[a] === other[b]) { shared.add(a); a++; b++; } else if (size[a + 1][b] >= size[a][b + 1]) a++; else b++;
  }
  return shared;
}

function heat(nats) {
  const strength = Math.min(1, Math.abs(nats) / HOTTEST) * 0.55;
  return strength < 0.03 ? "" : `background:rgba(var(--${nats > 0 ? "hot" : "cold"}), ${strength.toFixed(2)})`;
}

function hoverCard() {
  return document.getElementById("hover") ?? document.body.appendChild(el("div", { id: "hover", role: "status", hidden: true }));
}
function hideReading() { hoverCard().hidden = true; }

function showReading(span) {
  const one = span.reading, card = hoverCard(), difference = one.dormant - one.base;
  const top = (rows) => rows.map(([text, nats]) => [said(visible(text), "code"), percent(Math.exp(nats))]);
  const base = top(one.base_top), dormant = top(one.dormant_top);
  const rows = Array.from({ length: Math.max(base.length, dormant.length) }, (_, n) => [...(base[n] ?? ["", ""]), ...(dormant[n] ?? ["", ""])]);
  card.replaceChildren(
    el("div", {}, said(visible(one.text), "code"), ` base ${number(one.base)} nats (${percent(Math.exp(one.base))}), dormant ${number(one.dormant)} (${percent(Math.exp(one.dormant))}): `,
      el("strong", {}, `${difference >= 0 ? "+" : "−"}${number(Math.abs(difference))}`)),
    rows.length ? el("table", {}, el("thead", {}, el("tr", {}, el("th", { colspan: 2 }, "base finds likeliest"), el("th", { colspan: 2 }, "dormant finds likeliest"))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell)))))) : null);
  card.hidden = false;
  const at = span.getClientRects()[0] ?? span.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - card.offsetWidth - 8));
  card.style.left = `${left + window.scrollX}px`;
  card.style.top = `${at.bottom + window.scrollY + 6}px`;
}

/** White space as signs, since a token of it would not be seen. */
const visible = (text) => clipped(text, 60).replace(/ /g, "␣").replace(/\n/g, "⏎").replace(/\t/g, "⇥") || "(nothing)";
