/** Drawing a map's layers on a canvas. */

import { roundLength } from "./geometry.js";
import { number } from "./i18n.js";
import { darker, PALETTE } from "./palette.js";

const TINT = 0.35;
const UNSURE_TINT = 0.15;
const MIN_GRID = 6;
const CLOTH = "#e9e6df";
const STAGE = "#e4e2dc";
const BAR = 130;

/**
 * Paint everything.
 * @param {CanvasRenderingContext2D} pen
 * @param {object} scene place, layers, picture (an image, or null), selected (a path, or null), overlay (whether to show
 *   cells), view {scale, x, y} in CSS px, size {width, height, dpr}
 */
export function paint(pen, scene) {
  const { view, size, place } = scene;
  pen.setTransform(size.dpr, 0, 0, size.dpr, 0, 0);
  pen.fillStyle = STAGE;
  pen.fillRect(0, 0, size.width, size.height);
  pen.setTransform(size.dpr * view.scale, 0, 0, size.dpr * view.scale, size.dpr * view.x, size.dpr * view.y);
  background(pen, scene);
  if (scene.overlay && scene.layers) overlay(pen, scene);
  if (scene.selected) ring(pen, scene.selected, view.scale);
  pen.setTransform(size.dpr, 0, 0, size.dpr, 0, 0);
  if (scene.layers && scene.bar) bar(pen, place.unitsPerMm * view.scale, size);
}

function background(pen, { picture, place, view }) {
  pen.imageSmoothingEnabled = view.scale < 4;
  pen.imageSmoothingQuality = "high";
  if (picture) {
    pen.drawImage(picture, 0, 0, place.width, place.height);
    return;
  }
  pen.fillStyle = CLOTH;
  pen.fillRect(0, 0, place.width, place.height);
}

function overlay(pen, { layers, place, view }) {
  if (layers.unseen) hatch(pen, layers.unseen, view.scale);
  for (const { chemistry, unsure, path } of layers.tints) {
    pen.globalAlpha = unsure ? UNSURE_TINT : TINT;
    pen.fillStyle = PALETTE[chemistry];
    pen.fill(path);
  }
  pen.globalAlpha = 1;
  grid(pen, layers.grid, place.unitsPerMm * 10 * view.scale, view.scale);
  pen.lineCap = "round";
  const width = Math.min(2.2, Math.max(1, place.unitsPerMm * view.scale * 0.7));
  for (const [chemistry, path] of layers.outlines) {
    stroke(pen, path, "rgb(255 255 255 / 0.9)", (width + 1.6) / view.scale);
    stroke(pen, path, darker(PALETTE[chemistry]), width / view.scale);
  }
}

/** Each line twice, light under dark: it shows on any cloth. Lines that would lie too close are left out. */
function grid(pen, paths, cellPx, scale) {
  for (const [every, strength] of [[1, 0.16], [5, 0.2], [10, 0.3]]) {
    if (every * cellPx < MIN_GRID) continue;
    stroke(pen, paths.get(every), `rgb(255 255 255 / ${strength})`, 2 / scale);
    stroke(pen, paths.get(every), `rgb(0 0 0 / ${strength})`, 1 / scale);
  }
}

function hatch(pen, path, scale) {
  const tile = new OffscreenCanvas(8, 8);
  const ink = tile.getContext("2d");
  ink.strokeStyle = "rgb(90 90 90 / 0.75)";
  ink.lineWidth = 1.5;
  for (const shift of [-8, 0, 8]) {
    ink.moveTo(shift, 8);
    ink.lineTo(shift + 8, 0);
  }
  ink.stroke();
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / scale));
  pen.fillStyle = pattern;
  pen.fill(path);
}

function ring(pen, path, scale) {
  pen.lineJoin = "round";
  stroke(pen, path, "#ffffff", 6 / scale);
  stroke(pen, path, "#10191c", 2.5 / scale);
}

function stroke(pen, path, colour, width) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.stroke(path);
}

/** A scale bar at the lower left: black on a white plate. */
function bar(pen, pxPerMm, size) {
  const length = roundLength(pxPerMm, Math.min(BAR, size.width / 3));
  const words = length < 10 ? `${number(length)} mm` : `${number(length / 10)} cm`;
  const px = length * pxPerMm;
  pen.font = "600 12px system-ui, sans-serif";
  const [x, y, wide] = [12, size.height - 12, Math.max(px, pen.measureText(words).width) + 16];
  pen.fillStyle = "rgb(255 255 255 / 0.88)";
  pen.beginPath();
  pen.roundRect(x, y - 34, wide, 34, 6);
  pen.fill();
  pen.fillStyle = "#10191c";
  pen.fillText(words, x + 8, y - 18);
  pen.fillRect(x + 8, y - 9, px, 2);
  pen.fillRect(x + 8, y - 13, 2, 8);
  pen.fillRect(x + 6 + px, y - 13, 2, 8);
}
