// The pictures of a run. Many lie compressed together in the page, and are unpacked when one of them is shown.
"use strict";

const unpacked = new Map();
const whole = new Promise((read) => addEventListener("DOMContentLoaded", read)); // the pictures stand behind the code

/** The picture of that name with its text for who cannot see it; a sentence where the page, or the browser, has none. */
function heldPicture(pictures, name, alt) {
  const at = pictures.places[name];
  if (at === undefined) return el("p", { class: "quiet" }, `The picture ${name} is not in this page.`);
  if (!("DecompressionStream" in window)) return el("p", { class: "quiet" }, `This browser cannot unpack the picture ${name}; it lies in the run's folder, and a newer browser shows it here.`);
  const image = el("img", { alt });
  unpackedPictures(Math.floor(at / pictures.together)).then((texts) => { image.src = addressOf(texts[at % pictures.together]); });
  return el("figure", {}, image, el("figcaption", {}, name));
}

/** A picture as an image of its own: whatever its SVG holds, it runs no code and asks for nothing. */
const addressOf = (text) => (text.startsWith("data:image/png;") ? text : `data:image/svg+xml,${encodeURIComponent(text)}`);

function unpackedPictures(pack) {
  if (!unpacked.has(pack)) unpacked.set(pack, whole.then(() => unpack(document.querySelectorAll("script.pack")[pack].textContent)));
  return unpacked.get(pack);
}

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}
