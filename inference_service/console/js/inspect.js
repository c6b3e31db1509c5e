/** One cell, close: its mm², classes, probability, and what they mean for a machine. */

import { announce, el, replace, text } from "./dom.js";
import { bit, CELL_MM, corners, SUBCELLS } from "./geometry.js";
import { number, percent, t } from "./i18n.js";
import { name } from "./layers.js";
import { CHEMISTRIES, darker, PALETTE } from "./palette.js";

const CLOSE = 220;

/** The panel for a MapView; call `show(row, col)`, or `clear()`. */
export class Inspector {
  constructor(view) {
    this.view = view;
    this.node = el("section.card.inspector", { "aria-labelledby": "inspect-title" });
    this.clear();
    document.addEventListener("language", () => this.node.isConnected && this.at && this.show(...this.at, true));
  }

  clear() {
    this.at = null;
    replace(this.node, title("cell.title"), el("p.quiet", { t: "cell.none" }));
  }

  show(row, col, silent = false) {
    this.at = [row, col];
    const cell = this.view.cells.get(name(row, col));
    const unseen = this.view.map.unseen.some(([r, c]) => r === row && c === col);
    const heading = title("cell.at", { row: row + 1, col: col + 1 });
    const told = cell ? this._stained(cell) : [el("p", { t: unseen ? "cell.unseen" : "cell.clean" })];
    replace(this.node, heading, this._close(row, col, cell), ...told, this._where(row, col));
    if (!silent) announce(spoken(row, col, cell, unseen));
  }

  _stained(cell) {
    const badge = cell.unsure ? el("span.badge.warn", { t: "cell.unsure" }) : null;
    return [
      el("p.verdict", {}, swatch(cell.chemistry), el("strong", { t: `chemistry.${cell.chemistry}` }), badge),
      cell.unsure ? el("p.quiet", { t: "cell.unsure_means" }) : null,
      el("dl.facts", {},
        fact("cell.area", () => t("cell.of_100", { area: cell.area_mm2 })),
        fact("cell.confidence", () => percent(cell.confidence, 1)),
      ),
      el("h3", { t: "cell.classes" }),
      el("ul.bars", {}, CHEMISTRIES.map((chemistry) => bar(chemistry, cell.classes[chemistry]))),
    ];
  }

  _where(row, col) {
    const [x0, y0] = this.view.map.grid.origin_mm;
    const values = { x: x0 + (col + 0.5) * CELL_MM, y: y0 + (row + 0.5) * CELL_MM };
    return el("p.quiet.small", { t: ["cell.position", values] });
  }

  /** The cell as the camera saw it, with the lines of its 100 mm² and the stained ones framed. */
  _close(row, col, cell) {
    const canvas = el("canvas.close", { width: 2 * CLOSE, height: 2 * CLOSE, role: "img" });
    canvas.setAttribute("aria-label", t("cell.close", { area: cell?.area_mm2 ?? 0 }));
    const pen = canvas.getContext("2d");
    const { place, picture } = this.view;
    const points = corners(place, row, col);
    const [left, top] = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis])));
    const [right, bottom] = [0, 1].map((axis) => Math.max(...points.map((point) => point[axis])));
    const scale = (2 * CLOSE) / Math.max(right - left, bottom - top);
    pen.fillStyle = "#e9e6df";
    pen.fillRect(0, 0, 2 * CLOSE, 2 * CLOSE);
    pen.setTransform(scale, 0, 0, scale, -left * scale, -top * scale);
    pen.imageSmoothingEnabled = scale < 12;
    if (picture) pen.drawImage(picture, 0, 0, place.width, place.height);
    for (let n = 0; n < SUBCELLS * SUBCELLS; n += 1) square(pen, place, row, col, n, cell, 1 / scale);
    return canvas;
  }
}

/** A square of a class's colour. */
export function swatch(chemistry) {
  const node = el("i.swatch", { "aria-hidden": "true" });
  node.style.backgroundColor = PALETTE[chemistry];
  return node;
}

/** A name and its value in a list of facts; the value is a function, so that it follows the language. */
export function fact(key, value) {
  return el("div", {}, el("dt", { t: key }), el("dd", { t: ["plain", { text: value }] }));
}

function title(key, values) {
  return el("h2", { id: "inspect-title", t: [key, values] });
}

function bar(chemistry, share) {
  const fill = el("b.fill");
  fill.style.backgroundColor = PALETTE[chemistry];
  fill.style.width = `${Math.max(0.5, 100 * share)}%`;
  return el("li", {},
    el("span", { t: `chemistry.${chemistry}` }),
    el("span.track", { "aria-hidden": "true" }, fill),
    el("span.value", { t: ["plain", { text: () => percent(share) }] }),
  );
}

function square(pen, place, row, col, n, cell, thin) {
  const [y, x] = [Math.floor(n / SUBCELLS), n % SUBCELLS];
  const points = corners(place, row, col, [x, y, 1, 1]);
  pen.beginPath();
  points.forEach(([u, v], at) => (at ? pen.lineTo(u, v) : pen.moveTo(u, v)));
  pen.closePath();
  pen.lineWidth = thin;
  pen.strokeStyle = "rgb(0 0 0 / 0.16)";
  pen.stroke();
  if (!cell || !bit(cell.mask, n)) return;
  pen.globalAlpha = 0.3;
  pen.fillStyle = PALETTE[cell.chemistry];
  pen.fill();
  pen.globalAlpha = 1;
  rim(pen, points, [[y - 1, x], [y, x + 1], [y + 1, x], [y, x - 1]].map((at) => !inside(cell, ...at)), cell, thin);
}

/** Whether a mm² of the cell is stained; beyond the cell none is. */
function inside(cell, y, x) {
  return y >= 0 && x >= 0 && y < SUBCELLS && x < SUBCELLS && bit(cell.mask, y * SUBCELLS + x) === 1;
}

/** A thick line on those of a square's sides (top, right, bottom, left) beyond which nothing is stained. */
function rim(pen, points, open, cell, thin) {
  for (const [colour, width] of [["rgb(255 255 255 / 0.9)", 8], [darker(PALETTE[cell.chemistry]), 4]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width * thin;
    pen.beginPath();
    open.forEach((yes, side) => {
      if (!yes) return;
      pen.moveTo(...points[side]);
      pen.lineTo(...points[(side + 1) % 4]);
    });
    pen.stroke();
  }
}

function spoken(row, col, cell, unseen) {
  const where = t("cell.at", { row: row + 1, col: col + 1 });
  if (!cell) return `${where}. ${t(unseen ? "cell.unseen" : "cell.clean")}`;
  const chemistry = t(`chemistry.${cell.chemistry}`);
  const told = t("cell.spoken", { chemistry, area: cell.area_mm2, confidence: () => percent(cell.confidence) });
  return `${where}. ${told}${cell.unsure ? ` ${t("cell.unsure")}` : ""}`;
}

/** What colours mean on a map, with cells and area of each class. */
export function legend(map, cells) {
  const counts = new Map(CHEMISTRIES.map((chemistry) => [chemistry, { count: 0, area: 0 }]));
  for (const cell of cells.values()) {
    const row = counts.get(cell.chemistry);
    row.count += 1;
    row.area += cell.area_mm2;
  }
  const unsure = [...cells.values()].filter((cell) => cell.unsure).length;
  return el("ul.legend", {},
    [...counts].filter(([, { count }]) => count).map(([chemistry, values]) => el("li", {},
      swatch(chemistry), el("strong", { t: `chemistry.${chemistry}` }), " ", text("legend.cells", values))),
    unsure ? el("li.quiet", {}, text("legend.unsure", { count: unsure })) : null,
    map.unseen.length ? el("li.quiet", {}, el("i.swatch.hatch", { "aria-hidden": "true" }),
      text("legend.unseen", { count: map.unseen.length })) : null,
  );
}

/** A map's result in one sentence. */
export function verdict(map) {
  if (!map.cells.length) return el("p.result.clean", { t: "result.clean" });
  const of = map.grid.rows * map.grid.cols;
  const values = { count: map.cells.length, of, area: () => number(Math.round(map.stained_area_mm2)) };
  return el("p.result", { t: ["result.stained", values] });
}
