/** A garment by its ticket: both sides before and after, what was used, and a record to print for a complaint. */

import { json } from "../api.js";
import { el, replace, text } from "../dom.js";
import { moment, number, percent } from "../i18n.js";
import { fact } from "../inspect.js";
import { miniature } from "../maps.js";
import { problem } from "../problems.js";

export const scopes = ["detect", "actuate", "report"];

export function create() {
  return new Garments();
}

class Garments {
  constructor() {
    this.ticket = el("input", { id: "garment", type: "search", required: true, maxlength: 128, autocomplete: "off" });
    this.found = el("div", { "aria-live": "polite" }, el("p.quiet", { t: "garment.start" }));
    const form = el("form.search", { role: "search", onsubmit: (event) => this._submit(event) },
      el("label", { for: "garment", t: "garment.label" }), this.ticket,
      el("button.primary", { type: "submit", t: "garment.find" }));
    this.node = el("div.view.garments", {},
      el("h1", { tabindex: -1, t: "garment.title" }), form, this.found);
  }

  /** `#/garments/TICKET` shows that ticket. */
  show(ticket) {
    if (ticket && ticket !== this.ticket.value) {
      this.ticket.value = ticket;
      this._find(ticket);
    }
  }

  hide() {}

  _submit(event) {
    event.preventDefault();
    const ticket = this.ticket.value.trim();
    if (!ticket) return;
    history.replaceState(null, "", `#/garments/${encodeURIComponent(ticket)}`);
    this._find(ticket);
  }

  async _find(ticket) {
    replace(this.found, el("p.quiet", { t: "garment.searching" }));
    try {
      const { garments } = await json(`/v1/garments/${encodeURIComponent(ticket)}`);
      if (!garments.length) {
        replace(this.found, el("section.card.empty", {}, el("h2", { t: ["garment.unknown", { ticket }] }),
          el("p", { t: "garment.unknown_help" })));
        return;
      }
      replace(this.found, this._bar(garments.length), garments.map((garment) => record(garment)));
    } catch (error) {
      replace(this.found, problem(error));
    }
  }

  _bar(count) {
    return el("div.row.no-print", {},
      el("p.grow", { t: ["garment.count", { count }] }),
      el("button", { type: "button", t: "garment.refresh", onclick: () => this._find(this.ticket.value.trim()) }),
      el("button.primary", { type: "button", t: "garment.print", onclick: () => window.print() }));
  }
}

function record(garment) {
  return el("article.card.record", {},
    el("header", {},
      el("p.record-head", { t: "record.title" }),
      el("h2", { t: ["record.garment", { ticket: garment.ticket ?? garment.id }] }),
      el("dl.facts.wide", {}, facts(garment))),
    garment.sides.length ? [...garment.sides].sort(byside).map(side) : el("p.quiet", { t: "record.no_sides" }),
    used(garment),
    signatures(),
    el("p.quiet.small", { t: ["record.printed", { when: () => moment(new Date().toISOString()) }] }));
}

/** Front before back, and a side that nobody named last. */
function byside(one, other) {
  const order = ["front", "back", ""];
  return order.indexOf(one.side) - order.indexOf(other.side);
}

function facts(garment) {
  const told = [["record.id", garment.id], ["record.site", garment.site], ["record.fabric", garment.fabric]];
  const rows = told.filter(([, value]) => value).map(([key, value]) => fact(key, () => value));
  rows.push(fact("record.first_seen", () => moment(garment.first_seen_at)));
  if (garment.finished_at) rows.push(fact("record.finished", () => moment(garment.finished_at)));
  for (const name of ["full_wash", "handover", "removed", "rewash", "complaint"]) {
    if (garment[name] === null) continue;
    rows.push(el("div", {}, el("dt", { t: `record.${name}` }), el("dd", { t: garment[name] ? "yes" : "no" })));
  }
  return rows;
}

function side(row) {
  const after = row.after_map_id
    ? look("record.after", row.after_map_id, row.after_at, row.after_mm2)
    : el("figure.mini.waiting", {}, el("p.quiet", { t: "record.no_after" }));
  return el("section.side-record", {},
    el("h3", { t: `side.${row.side || "unnamed"}` }),
    el("div.before-after", {}, look("record.before", row.before_map_id, row.before_at, row.before_mm2), after),
    row.after_map_id ? change(row) : null);
}

function look(key, id, at, area) {
  const caption = el("figcaption", {},
    el("strong", { t: key }), text("record.area", { area: Math.round(area) }),
    el("span.quiet", { t: ["record.at", { when: () => moment(at) }] }),
    el("code.quiet.small", {}, id));
  return miniature(id, { withLegend: true, caption });
}

function change({ before_mm2: before, after_mm2: after }) {
  if (!(before > 0)) return null;
  const share = (before - after) / before;
  const values = { share: () => percent(Math.abs(share)), before: Math.round(before), after: Math.round(after) };
  return el(`p.change.${share > 0 ? "good" : "bad"}`, { t: [share >= 0 ? "record.less" : "record.more", values] });
}

function used(garment) {
  if (!garment.used.length) return el("p.quiet", { t: "record.nothing_used" });
  const rows = garment.used.map((row) => el("tr", {},
    el("th", { scope: "row" }, row.agent), el("td.number", { t: ["plain", { text: () => number(row.shots) }] }),
    el("td.number", { t: ["record.ml", { volume: () => millilitres(row.volume_ul) }] })));
  const head = ["agent", "shots", "volume"].map((key) => el("th", { scope: "col", t: `record.${key}` }));
  const largest = Math.max(0, ...garment.doses.map((dose) => dose.volume_ul));
  return el("section", {},
    el("h3", { t: "record.used" }),
    el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)),
    garment.doses.length
      ? el("p.quiet.small", { t: ["record.doses", { count: garment.doses.length, largest: Math.round(largest) }] }) : null);
}

function millilitres(volume_ul) {
  return number(volume_ul / 1000, { maximumFractionDigits: 2 });
}

function signatures() {
  return el("div.signatures", {},
    ["record.remarks", "record.customer", "record.shop"].map((key) => el("div", {}, el("span", { t: key }))));
}
