"use strict";

// What the parts share: the page's data, its pictures, and how numbers are written. Text from outside only ever becomes
// text of an element, never HTML.

const data = JSON.parse(document.getElementById("data").textContent);

const byId = (id) => document.getElementById(id);

/** A new element with these properties, and with children, which may be text. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const pictures = new Map();

/** The picture of a data URI, once it can be painted. */
function loaded(src) {
  if (!pictures.has(src)) {
    const image = new Image();
    image.src = src;
    pictures.set(src, image.decode().then(() => image));
  }
  return pictures.get(src);
}

const wanted = new WeakMap();

/** Paints a part of a picture on a canvas of the part's own size; style makes the canvas larger. */
async function paint(canvas, src, [left, top, width, height]) {
  wanted.set(canvas, src);
  const image = await loaded(src);
  // Meanwhile, something else may have been asked for.
  if (wanted.get(canvas) !== src) return;
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(image, left, top, width, height, 0, 0, width, height);
}

/** Paints a tile of one of the page's sheets. */
function paintTile(canvas, sheet, tile) {
  const { src, tiles } = data.sheets[sheet] ?? { tiles: [] };
  if (tiles[tile]) paint(canvas, src, tiles[tile]);
}

for (const canvas of document.querySelectorAll("canvas[data-sheet]")) {
  paintTile(canvas, canvas.dataset.sheet, Number(canvas.dataset.tile));
}

/** A number with about three digits that count. */
function figure(value, digits = 3) {
  const magnitude = Math.abs(value);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "not a number" : value > 0 ? "∞" : "−∞";
  if (magnitude === 0) return "0";
  if (magnitude < 1e-3 || magnitude >= 1e5) return value.toExponential(1).replaceAll("-", "−");
  const decimals = Math.min(5, Math.max(0, digits - Math.floor(Math.log10(magnitude)) - 1));
  return value.toFixed(decimals).replace("-", "−");
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)} %`);

const className = (number) => data.classes[number] ?? `class ${number}`;

/** The colour of a number from -1 to 1, as the pictures have it: orange, white at zero, blue. */
function diverging(value) {
  const stops = [[0xb3, 0x58, 0x06], [0xf1, 0xa3, 0x40], [0xf7, 0xf7, 0xf7], [0x67, 0xa9, 0xcf], [0x1b, 0x5f, 0xa8]];
  const place = (Math.min(1, Math.max(-1, value || 0)) + 1) * 2;
  const below = Math.min(3, Math.floor(place));
  return stops[below].map((from, channel) => Math.round(from + (place - below) * (stops[below + 1][channel] - from)));
}

/** The choosers show one image, whichever of them was used. */
const choosers = [...document.querySelectorAll("[data-chooser]")];
const whenChosen = [];

function choose(number) {
  for (const chooser of choosers) chooser.querySelectorAll("input")[number].checked = true;
  for (const show of whenChosen) show(number);
}

for (const chooser of choosers) {
  chooser.addEventListener("change", (event) => choose(Number(event.target.value)));
}
