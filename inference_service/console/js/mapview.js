/** A stain map over its picture that can be moved, zoomed and asked, by mouse, finger or keyboard. */

import { el } from "./dom.js";
import { paint } from "./draw.js";
import { cellAt, corners, FlatPlace, PicturePlace } from "./geometry.js";
import { build, index, name, outline } from "./layers.js";

const MOST = 40; // CSS px per picture px
const STEP = 1.4;
const CLICK = 6;
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export class MapView {
  /**
   * @param {object} options onselect(row, col); still = only to be looked at
   */
  constructor({ onselect = () => {}, still = false, label = "map.canvas" } = {}) {
    this.onselect = onselect;
    this.overlay = true;
    this.map = this.picture = this.place = this.layers = this.selected = null;
    this.cells = new Map();
    this.view = { scale: 1, x: 0, y: 0 };
    this._fitted = true;
    const role = still ? "img" : "application";
    this.canvas = el("canvas.map", { role, "t-aria-label": label, tabindex: still ? null : 0 });
    this.still = still;
    if (!still) this._listen();
    this._sizes = new ResizeObserver(() => this._resize());
    this._sizes.observe(this.canvas);
    if (!still) document.addEventListener("language", () => this.draw());
  }

  /** Show a picture (ImageBitmap or null) and a map (or null: the picture alone). */
  show(picture, map, lens = null) {
    [this.picture, this.map, this.selected] = [picture, map, null];
    this.cells = map ? index(map) : new Map();
    if (map) this.place = picture ? new PicturePlace(map, lens) : new FlatPlace(map);
    else this.place = picture ? { width: picture.width, height: picture.height, unitsPerMm: 1 } : null;
    this.layers = map ? build(map, this.place, this.cells) : null;
    if (this.place) {
      this.canvas.style.aspectRatio = `${this.place.width} / ${this.place.height}`;
      this.canvas.style.setProperty("--ratio", this.place.width / this.place.height);
    }
    this.fit();
  }

  /** Mark a cell and bring it into sight. */
  select(row, col) {
    this.selected = [row, col];
    const [left, top, right, bottom] = this._box(row, col);
    const { width, height } = this._size();
    const [x, y] = [left * this.view.scale + this.view.x, top * this.view.scale + this.view.y];
    const [wide, high] = [(right - left) * this.view.scale, (bottom - top) * this.view.scale];
    if (x < 0 || x + wide > width) this.view.x += width / 2 - x - wide / 2;
    if (y < 0 || y + high > height) this.view.y += height / 2 - y - high / 2;
    this._hold();
    this.draw();
    this.onselect(row, col);
  }

  /** The whole picture. */
  fit() {
    this._fitted = true;
    if (!this.place) return this.draw();
    const { width, height } = this._size();
    const scale = Math.min(width / this.place.width, height / this.place.height) || 1;
    const [x, y] = [(width - scale * this.place.width) / 2, (height - scale * this.place.height) / 2];
    this.view = { scale, x, y };
    this.canvas.classList.remove("zoomed");
    return this.draw();
  }

  /** Zoom about a point of the canvas, by default its middle. */
  zoom(factor, at = null) {
    if (!this.place) return;
    const { width, height } = this._size();
    const [x, y] = at ?? [width / 2, height / 2];
    const whole = Math.min(width / this.place.width, height / this.place.height);
    const scale = Math.min(Math.max(this.view.scale * factor, whole), Math.max(MOST, whole));
    const ratio = scale / this.view.scale;
    this.view = { scale, x: x - (x - this.view.x) * ratio, y: y - (y - this.view.y) * ratio };
    this._fitted = scale <= whole * 1.001;
    this.canvas.classList.toggle("zoomed", !this._fitted);
    if (this._fitted) this.fit();
    this._hold();
    this.draw();
  }

  /** Cells drawn, or the bare picture. */
  setOverlay(on) {
    this.overlay = on;
    this.draw();
  }

  /** Where a cell's middle lies on the canvas, CSS px. */
  middle(row, col) {
    const [left, top, right, bottom] = this._box(row, col);
    const { scale, x, y } = this.view;
    return [((left + right) / 2) * scale + x, ((top + bottom) / 2) * scale + y];
  }

  draw() {
    const pen = this.canvas.getContext("2d");
    const size = this._size();
    if (!this.place || !size.width || !size.height) return; // not laid out yet
    const selected = this.selected && this.layers ? outline(this.place, ...this.selected) : null;
    const { place, layers, picture, overlay, view } = this;
    paint(pen, { place, layers, picture, overlay, view, size, selected, bar: !this.still || size.width > 160 });
  }

  _size() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return { width, height, dpr: this.still ? Math.max(2, devicePixelRatio) : devicePixelRatio };
  }

  _resize() {
    const { width, height, dpr } = this._size();
    this.canvas.width = Math.round(width * dpr);
    this.canvas.height = Math.round(height * dpr);
    if (this._fitted) this.fit();
    else this.draw();
  }

  _box(row, col) {
    const points = corners(this.place, row, col);
    const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  }

  /** Keep some of the picture in sight. */
  _hold() {
    const { width, height } = this._size();
    const [wide, high] = [this.place.width * this.view.scale, this.place.height * this.view.scale];
    const keep = (at, room, length) =>
      length <= room ? (room - length) / 2 : Math.min(room * 0.3, Math.max(at, room * 0.7 - length));
    this.view.x = keep(this.view.x, width, wide);
    this.view.y = keep(this.view.y, height, high);
  }

  _listen() {
    const fingers = new Map();
    let moved = 0;
    const { canvas } = this;
    const place = (event) => [event.offsetX, event.offsetY];
    canvas.addEventListener("pointerdown", (event) => {
      if (!fingers.size) moved = 0;
      fingers.set(event.pointerId, place(event));
      if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      moved += this._dragged(fingers, event.pointerId, place(event));
    });
    const lifted = (event) => {
      const down = fingers.delete(event.pointerId);
      if (down && !fingers.size && event.type === "pointerup" && moved < CLICK) this._ask(...place(event));
    };
    canvas.addEventListener("pointerup", lifted);
    canvas.addEventListener("pointercancel", lifted);
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey && this._fitted) return; // the page scrolls
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? STEP : 1 / STEP, place(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this._key(event));
  }

  /** One finger moves the picture, two zoom it; returns how far it went. */
  _dragged(fingers, id, to) {
    const from = fingers.get(id);
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const other = [...fingers].find(([key]) => key !== id)?.[1];
    fingers.set(id, to);
    if (other) {
      const [before, after] = [from, to].map(([x, y]) => Math.hypot(x - other[0], y - other[1]));
      if (before > 0) this.zoom(after / before, [(to[0] + other[0]) / 2, (to[1] + other[1]) / 2]);
      return CLICK;
    }
    if (this._fitted || !this.place) return Math.hypot(dx, dy);
    this.view.x += dx;
    this.view.y += dy;
    this._hold();
    this.draw();
    return Math.hypot(dx, dy);
  }

  _ask(x, y) {
    if (!this.map) return;
    const { scale } = this.view;
    const found = cellAt(this.place, (x - this.view.x) / scale, (y - this.view.y) / scale);
    if (found) this.select(...found);
  }

  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.place) return;
    const zooms = { "+": STEP, "=": STEP, "-": 1 / STEP };
    if (event.key in zooms) this.zoom(zooms[event.key]);
    else if (event.key === "0") this.fit();
    else if (!this.map || !this._walk(event.key)) return;
    event.preventDefault();
  }

  /** Arrows go to the next cell, Page keys to the next stained one; says whether the key was one of these. */
  _walk(key) {
    const listed = this.map.cells;
    const { rows, cols } = this.map.grid;
    if (key in STEPS) {
      if (this.selected) {
        const [row, col] = [this.selected[0] + STEPS[key][0], this.selected[1] + STEPS[key][1]];
        this.select(Math.min(Math.max(row, 0), rows - 1), Math.min(Math.max(col, 0), cols - 1));
      } else if (listed.length) this.select(listed[0].row, listed[0].col);
      else this.select(0, 0);
      return true;
    }
    const now = listed.findIndex((cell) => this.selected && name(cell.row, cell.col) === name(...this.selected));
    const goes = { PageDown: now + 1, PageUp: now < 0 ? listed.length - 1 : now - 1, Home: 0, End: listed.length - 1 };
    if (!(key in goes)) return false;
    if (listed.length) {
      const cell = listed[(goes[key] + listed.length) % listed.length];
      this.select(cell.row, cell.col);
    }
    return true;
  }
}
