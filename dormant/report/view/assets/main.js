// Reads the data of the page and puts its sections in place.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const PAGES = { hunt: huntPage, sweep: sweepPage, claims: (found) => claimsPage(found), hunts: (found) => huntsComparedPage(found), runs: (found) => runsComparedPage(found) };

function themeButton() {
  const order = ["auto", "light", "dark"], root = document.documentElement;
  const button = el("button", { type: "button", onclick: () => {
    const next = order[(order.indexOf(root.dataset.theme ?? "auto") + 1) % order.length];
    if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
    button.textContent = `theme: ${next}`;
  } }, "theme: auto");
  return button;
}

/** Loads a page of work that goes on again, unless its reader writes, has it stopped, or looks at something else. */
function liveButton() {
  if (!data.every) return null;
  let stopped = false;
  const button = el("button", { type: "button", "aria-pressed": "true", onclick: () => {
    stopped = !stopped;
    button.setAttribute("aria-pressed", String(!stopped));
    button.textContent = stopped ? "live: stopped" : "live";
  } }, "live");
  const again = () => setInterval(() => { if (!stopped && !document.hidden && !["INPUT", "SELECT"].includes(document.activeElement?.tagName)) location.reload(); }, 1000 * data.every);
  addEventListener("load", again);
  return button;
}

function build() {
  const main = document.querySelector("main"), parts = PAGES[data.kind](data).filter(Boolean);
  main.replaceChildren(...parts);
  document.title = clipped(main.querySelector("h1").textContent.replace(/[\u202a-\u202e\u2066-\u2069]/g, ""), 150); // a tab's title shows marks of direction
  const sections = parts.filter((part) => part.tagName === "SECTION");
  document.querySelector("nav").replaceChildren(el("div", {}, el("strong", {}, "dormant"), sections.map((part) => el("a", { href: `#${part.id}` }, part.dataset.name)), liveButton(), themeButton()));
  sections.forEach((part) => part.drawn?.());
  follow();
  performance.mark("usable");
  addEventListener("DOMContentLoaded", () => requestAnimationFrame(() => setTimeout(() => {
    sections.forEach((part) => part.later?.());
    if (location.hash) follow();
    document.documentElement.dataset.ready = "yes";
  })));
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
  function follow() {
    const id = decodeURIComponent(location.hash.slice(1));
    if (!id) return;
    sections.forEach((part) => part.reveal?.(id));
    document.getElementById(id)?.scrollIntoView();
  }
}

build();
