/** The large picture with its tools, legend and the list of its cells: what the look page shows of a map. */

import { el, replace, save, text } from "./dom.js";
import { duration, moment, number, percent, t } from "./i18n.js";
import { Inspector, legend, swatch, verdict } from "./inspect.js";
import { MapView } from "./mapview.js";

const SHOWN = 40;

export class Stage {
  constructor() {
    this.view = new MapView({ onselect: (row, col) => this._selected(row, col) });
    this.inspector = new Inspector(this.view);
    this.overlay = el("input", { type: "checkbox", checked: true, id: "overlay",
      onchange: () => this.view.setOverlay(this.overlay.checked) });
    this.tools = el("div.tools", { role: "toolbar", "t-aria-label": "map.tools" },
      tool("−", "map.out", () => this.view.zoom(1 / 1.6)),
      tool("+", "map.in", () => this.view.zoom(1.6)),
      tool("⤢", "map.fit", () => this.view.fit()),
      el("label.check", {}, this.overlay, el("span", { t: "map.overlay" })));
    this.caption = el("button.caption", { type: "button", hidden: true, tabindex: -1, "aria-hidden": "true",
      onclick: () => this.inspector.node.scrollIntoView({ block: "nearest" }) });
    this.told = el("div.told");
    this.list = el("div.list");
    this.hint = el("p.quiet.small.keys", { id: "map-keys", t: "map.keys" });
    this.view.canvas.setAttribute("aria-describedby", "map-keys");
    this.node = el("div.stage", {}, el("div.frame", {}, this.view.canvas, this.tools, this.caption), this.hint);
    this.clear();
  }

  /** The picture alone, before it was looked at. */
  preview(picture) {
    this.view.show(picture, null);
    this.clear();
  }

  clear() {
    this.tools.hidden = this.hint.hidden = this.caption.hidden = true;
    this.inspector.node.hidden = true;
    replace(this.told);
    replace(this.list);
  }

  show({ map, picture, lens, lensMissing, took }) {
    this.view.show(picture, map, lens);
    this.tools.hidden = this.hint.hidden = this.inspector.node.hidden = false;
    this.inspector.clear();
    this.caption.hidden = true;
    const notes = this._notes(map, lensMissing);
    replace(this.told, verdict(map), legend(map, this.view.cells), notes, this._source(map, took));
    this._table(SHOWN);
  }

  _selected(row, col) {
    this.inspector.show(row, col);
    this._brief(this.view.cells.get(`${row},${col}`));
    for (const line of this.list.querySelectorAll("tr[data-cell]")) {
      line.toggleAttribute("aria-current", line.dataset.cell === `${row},${col}`);
    }
  }

  /** The chosen cell in a few words on the picture itself: on a phone the panel lies below. */
  _brief(cell) {
    this.caption.hidden = !cell;
    if (!cell) return;
    const [chemistry, confidence] = [() => t(`chemistry.${cell.chemistry}`), () => percent(cell.confidence)];
    replace(this.caption, swatch(cell.chemistry), text("cell.brief", { chemistry, area: cell.area_mm2, confidence }));
  }

  _notes(map, lensMissing) {
    const told = map.warnings.map((sentence) => el("li", { lang: "en" }, sentence));
    if (lensMissing) told.push(el("li", { t: "result.no_lens" }));
    return told.length ? el("ul.notes", {}, told) : null;
  }

  _source(map, took) {
    const file = () => save(new Blob([JSON.stringify(map)], { type: "application/json" }), `${map.id}.stainmap.json`);
    const scale = { scale: () => number(map.mm_per_px, { maximumSignificantDigits: 3 }) };
    const when = map.captured_at ? text("result.captured", { when: () => moment(map.captured_at) }) : null;
    return el("div.source.quiet.small", {},
      text("result.took", { took: () => duration(took), age: () => duration(map.age_ms) }), when,
      text("result.scale", { ...scale, width: map.image_px[0], height: map.image_px[1] }),
      el("span", { t: ["result.model", { model: map.model, threshold: () => number(map.threshold) }] }),
      el("button.link", { type: "button", onclick: file, t: "result.save" }));
  }

  /** The stained cells, largest first, each a button: what the picture shows, for those who do not see it. */
  _table(most) {
    const cells = [...this.view.cells.values()].sort((a, b) => b.area_mm2 - a.area_mm2);
    if (!cells.length) return replace(this.list);
    const head = ["cell", "chemistry", "area", "confidence"].map((key, at) => el(at > 1 ? "th.number" : "th",
      { scope: "col", t: `list.${key}` }));
    const rest = cells.length - most;
    const more = el("button.quiet-button", { type: "button", t: ["list.more", { count: rest }],
      onclick: () => this._table(Infinity) });
    return replace(this.list,
      el("h2", { t: "list.title" }),
      el("table.cells", {}, el("thead", {}, el("tr", {}, head)),
        el("tbody", {}, cells.slice(0, most).map((cell) => this._row(cell)))),
      rest > 0 ? more : null);
  }

  _row(cell) {
    const go = () => {
      this.view.select(cell.row, cell.col);
      this.inspector.node.scrollIntoView({ block: "nearest" });
    };
    const values = { row: cell.row + 1, col: cell.col + 1 };
    return el("tr", { "data-cell": `${cell.row},${cell.col}` },
      el("td", {}, el("button.link", { type: "button", onclick: go, "t-aria-label": ["list.at", values],
        t: ["list.place", values] })),
      el("td", {}, swatch(cell.chemistry), el("span", { t: `chemistry.${cell.chemistry}` }),
        cell.unsure ? el("span.badge.warn", { t: "cell.unsure" }) : null),
      el("td.number", { t: ["list.mm2", { area: cell.area_mm2 }] }),
      el("td.number", { t: ["plain", { text: () => percent(cell.confidence) }] }));
  }
}

function tool(sign, key, onclick) {
  return el("button", { type: "button", onclick, "t-aria-label": key, "t-title": key }, sign);
}
