/** A stain map as paths on a drawing, worked out once and drawn at any zoom. */

import { bit, CELL_MM, corners, SUBCELLS } from "./geometry.js";
import { likeliest, PALETTE } from "./palette.js";

const CURVE_POINTS = 24;

/** The map's cells by "row,col", each with its likeliest class as `chemistry`. */
export function index(map) {
  const cells = map.cells.map((cell) => ({ ...cell, chemistry: likeliest(cell.classes) }));
  return new Map(cells.map((cell) => [name(cell.row, cell.col), cell]));
}

export function name(row, col) {
  return `${row},${col}`;
}

/** Paths by what they show: tints and outlines by class, the grid by how far apart lines are (cells), unseen cells. */
export function build(map, place, cells) {
  return {
    tints: tints(place, cells),
    outlines: outlines(place, cells),
    grid: new Map([1, 5, 10].map((every) => [every, lines(place, every)])),
    unseen: map.unseen.length ? polygons(place, map.unseen) : null,
  };
}

/** One cell's outline. */
export function outline(place, row, col) {
  return polygons(place, [[row, col]]);
}

function tints(place, cells) {
  const found = [];
  for (const chemistry of Object.keys(PALETTE)) {
    for (const unsure of [false, true]) {
      const own = [...cells.values()].filter((cell) => cell.chemistry === chemistry && cell.unsure === unsure);
      if (own.length) found.push({ chemistry, unsure, path: polygons(place, own.map((cell) => [cell.row, cell.col])) });
    }
  }
  return found;
}

function polygons(place, places) {
  const path = new Path2D();
  for (const [row, col] of places) {
    corners(place, row, col).forEach(([x, y], at) => (at ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
}

/** The rims of the stained mm², by class: an edge stands wherever the other side is not stained or of another class. */
function outlines(place, cells) {
  const paths = new Map();
  for (const cell of cells.values()) {
    if (!paths.has(cell.chemistry)) paths.set(cell.chemistry, new Path2D());
    const path = paths.get(cell.chemistry);
    for (let n = 0; n < SUBCELLS * SUBCELLS; n += 1) {
      if (bit(cell.mask, n)) edges(place, cells, cell, n, path);
    }
  }
  return paths;
}

function edges(place, cells, cell, n, path) {
  const [y, x] = [cell.row * SUBCELLS + Math.floor(n / SUBCELLS), cell.col * SUBCELLS + (n % SUBCELLS)];
  const sides = [[-1, 0, 0, 0, 0, 1], [1, 0, 1, 0, 1, 1], [0, -1, 0, 0, 1, 0], [0, 1, 0, 1, 1, 1]];
  for (const [dy, dx, y0, x0, y1, x1] of sides) {
    if (stained(cells, y + dy, x + dx, cell.chemistry)) continue;
    path.moveTo(...at(place, y + y0, x + x0));
    path.lineTo(...at(place, y + y1, x + x1));
  }
}

function stained(cells, y, x, chemistry) {
  const [row, col] = [Math.floor(y / SUBCELLS), Math.floor(x / SUBCELLS)];
  const cell = cells.get(name(row, col));
  return cell !== undefined && cell.chemistry === chemistry
    && bit(cell.mask, (y - row * SUBCELLS) * SUBCELLS + (x - col * SUBCELLS)) === 1;
}

function at(place, y, x) {
  return place.point(place.grid.origin_mm[0] + x, place.grid.origin_mm[1] + y);
}

function lines(place, every) {
  const path = new Path2D();
  const { rows, cols } = place.grid;
  const [width, height] = [cols * CELL_MM, rows * CELL_MM];
  for (let col = 0; col <= cols; col += every) curve(place, path, [col * CELL_MM, 0], [col * CELL_MM, height]);
  for (let row = 0; row <= rows; row += every) curve(place, path, [0, row * CELL_MM], [width, row * CELL_MM]);
  return path;
}

/** A grid line in pieces, since a lens bends it. */
function curve(place, path, from, to) {
  for (let step = 0; step <= CURVE_POINTS; step += 1) {
    const along = step / CURVE_POINTS;
    const [x, y] = [from[0] + along * (to[0] - from[0]), from[1] + along * (to[1] - from[1])];
    const point = at(place, y, x);
    if (step) path.lineTo(...point);
    else path.moveTo(...point);
  }
}
