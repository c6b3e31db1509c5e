/**
 * Where cells lie on a picture. Frames as in model/grid.py: table millimetres (x right, y down); picture px with
 * centres at whole numbers. Drawings count from the picture's corner, so drawing = px + 0.5.
 */

export const CELL_MM = 10;
export const SUBCELLS = 10;

/** Cells over the picture that the map was made from. */
export class PicturePlace {
  /**
   * @param {object} map spotgrid.stainmap/v1
   * @param {object|null} lens of spotgrid.calibration/v1: {matrix, distortion}; null = none
   */
  constructor(map, lens = null) {
    [this.width, this.height] = map.image_px;
    this.grid = map.grid;
    this._toMm = map.px_to_mm;
    this._toPx = inverse(map.px_to_mm);
    this._lens = lens;
    const middle = this.mm(this.width / 2, this.height / 2);
    const [x, y] = this.point(middle[0] + 1, middle[1]);
    this.unitsPerMm = Math.hypot(x - this.width / 2, y - this.height / 2);
  }

  /** Table mm -> drawing. */
  point(x, y) {
    const ideal = project(this._toPx, x, y);
    const [u, v] = this._lens ? distort(this._lens, ...ideal) : ideal;
    return [u + 0.5, v + 0.5];
  }

  /** Drawing -> table mm. */
  mm(u, v) {
    const px = [u - 0.5, v - 0.5];
    return project(this._toMm, ...(this._lens ? undistort(this._lens, ...px) : px));
  }
}

/** Cells without a picture: the table seen from above, one unit a mm. */
export class FlatPlace {
  constructor(map) {
    this.grid = map.grid;
    [this.width, this.height] = [map.grid.cols * CELL_MM, map.grid.rows * CELL_MM];
    this.unitsPerMm = 1;
  }

  point(x, y) {
    return [x - this.grid.origin_mm[0], y - this.grid.origin_mm[1]];
  }

  mm(u, v) {
    return [u + this.grid.origin_mm[0], v + this.grid.origin_mm[1]];
  }
}

/** The (row, col) that holds a drawing's point, or null beyond the grid. */
export function cellAt(place, u, v) {
  const [x, y] = place.mm(u, v);
  const { origin_mm: origin, rows, cols } = place.grid;
  const [row, col] = [Math.floor((y - origin[1]) / CELL_MM), Math.floor((x - origin[0]) / CELL_MM)];
  return row >= 0 && row < rows && col >= 0 && col < cols ? [row, col] : null;
}

/** The four corners of a cell, or of a part of it in sub-cells, on the drawing. */
export function corners(place, row, col, part = [0, 0, SUBCELLS, SUBCELLS]) {
  const [left, top] = [place.grid.origin_mm[0] + col * CELL_MM, place.grid.origin_mm[1] + row * CELL_MM];
  const [x, y, width, height] = part;
  const at = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]];
  return at.map(([dx, dy]) => place.point(left + dx, top + dy));
}

/** Whether the mm² number `n` (row-major) of a mask of 25 hex digits is stained. */
export function bit(mask, n) {
  return (parseInt(mask[n >> 2], 16) >> (3 - (n & 3))) & 1;
}

/** A round length of 1, 2 or 5 times a power of ten whose bar is at most `longest` long. */
export function roundLength(unitsPerMm, longest) {
  const most = longest / unitsPerMm;
  const power = 10 ** Math.floor(Math.log10(most));
  return power * ([5, 2].find((step) => step * power <= most) ?? 1);
}

function project(matrix, x, y) {
  const [a, b, c] = matrix.map((row) => row[0] * x + row[1] * y + row[2]);
  return [a / c, b / c];
}

function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  const adjugate = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ];
  return adjugate.map((row) => row.map((value) => value / det));
}

/** OpenCV's lens: (k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tx, ty); x, y are rays. */
function bend(distortion, x, y) {
  const [k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tx, ty] = [...distortion, ...Array(14).fill(0)];
  const r2 = x * x + y * y;
  const radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)));
  const u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + r2 * (s1 + r2 * s2);
  const v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + r2 * (s3 + r2 * s4);
  return tx || ty ? project(tilt(tx, ty), u, v) : [u, v];
}

/** OpenCV's tilted sensor: turned by tx about x, then by ty about y, and projected back. */
function tilt(tx, ty) {
  const [cx, sx, cy, sy] = [Math.cos(tx), Math.sin(tx), Math.cos(ty), Math.sin(ty)];
  const turned = [[cy, sy * sx, -sy * cx], [0, cx, sx], [sy, -cy * sx, cy * cx]];
  const [r13, r23, r33] = turned.map((row) => row[2]);
  const flat = [[r33, 0, -r13], [0, r33, -r23], [0, 0, 1]];
  return flat.map((row) => [0, 1, 2].map((at) => row.reduce((sum, value, k) => sum + value * turned[k][at], 0)));
}

function distort({ matrix, distortion }, u, v) {
  const [x, y] = project(inverse(matrix), u, v);
  return project(matrix, ...bend(distortion, x, y));
}

/** The inverse of `distort` by fixed-point steps; lenses that OpenCV calibrates converge. */
function undistort({ matrix, distortion }, u, v) {
  const [x0, y0] = project(inverse(matrix), u, v);
  let [x, y] = [x0, y0];
  for (let step = 0; step < 50; step += 1) {
    const [bx, by] = bend(distortion, x, y);
    const [dx, dy] = [x0 - bx, y0 - by];
    [x, y] = [x + dx, y + dy];
    if (Math.hypot(dx, dy) < 1e-9) break;
  }
  return project(matrix, x, y);
}
