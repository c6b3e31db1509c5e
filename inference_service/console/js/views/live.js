/** What happens now: the service's state, the rigs with their last maps, and maps as they come in. */

import { json } from "../api.js";
import { el, replace } from "../dom.js";
import { ago, moment } from "../i18n.js";
import { miniature } from "../maps.js";
import { Poll } from "../poll.js";
import { problem } from "../problems.js";
import { State } from "../state.js";

export const scopes = ["detect", "actuate", "report", "admin"];
const EVERY = 2000;
const LOOK_BACK = 3_600_000;
const PAGE = 500;
const PAGES = 6;
const SHOWN = 24;
const AWAY = 300_000;

export function create(mine) {
  return new Live(mine);
}

class Live {
  constructor(mine) {
    this.seesMaps = mine.some((scope) => ["detect", "admin"].includes(scope));
    this.seesRigs = mine.some((scope) => ["detect", "actuate", "report"].includes(scope));
    this.state = new State();
    this.rigCards = new Map();
    this.rows = [];
    this.cursor = null;
    this.skew = 0;
    this.poll = new Poll(() => this._ask(), EVERY, (error) => replace(this.trouble, problem(error)));
    this._build();
    document.addEventListener("language", () => this._times());
  }

  show() {
    this.poll.start();
  }

  hide() {
    this.poll.stop();
  }

  _build() {
    this.trouble = el("div");
    this.rigs = el("div.cards", {}, el("p.quiet", { t: "live.waiting" }));
    this.feed = el("ol.feed", { "aria-live": "off" });
    this.none = el("p.quiet", { t: "live.waiting" });
    this.node = el("div.view.live", {},
      el("h1", { tabindex: -1, t: "live.title" }), this.trouble, this.state.node,
      this.seesRigs ? el("section", {}, el("h2", { t: "live.rigs" }), this.rigs) : null,
      el("section", {}, el("h2", { t: "live.maps" }),
        this.seesMaps ? [this.none, this.feed] : el("p.quiet", { t: "live.no_maps_scope" })));
  }

  async _ask() {
    const status = await json("/v1/status");
    this.skew = Date.parse(status.now) - Date.now();
    this.state.show(status);
    if (this.seesRigs) this._showRigs((await json("/v1/rigs")).rigs);
    if (this.seesMaps) await this._read(status.now);
    this._times();
    replace(this.trouble);
  }

  /** All maps since the last cursor; on the first look, those of the last hour by the service's own clock. */
  async _read(now) {
    this.cursor ??= new Date(Date.parse(now) - LOOK_BACK).toISOString();
    const fresh = [];
    for (let page = 1; ; page += 1) {
      const { maps, next } = await json("/v1/stainmaps", { query: { since: this.cursor, limit: PAGE } });
      this.cursor = page < PAGES ? next : new Date(Date.parse(now) - EVERY).toISOString(); // too many: skip to the end
      fresh.push(...maps);
      if (maps.length < PAGE || page > PAGES) break;
    }
    for (const row of fresh.slice(-SHOWN)) this._came(row);
    this.none.hidden = this.rows.length > 0;
    replace(this.none, el("span", { t: "live.no_maps" }));
  }

  _came(row) {
    if (this.rows.some((shown) => shown.row.id === row.id)) return;
    const when = el("time.quiet", { datetime: row.recorded_at });
    const what = row.cells ? ["live.stained", { count: row.cells, area: Math.round(row.stained_area_mm2) }] : "live.clean";
    const where = [row.rig_id, row.ticket ?? row.garment_id, row.source].filter(Boolean)[0];
    const side = row.side ? el("span.badge", { t: `side.${row.side}` }) : null;
    const ticket = row.ticket ?? row.garment_id;
    const to = ticket ? el("a", { href: `#/garments/${encodeURIComponent(ticket)}` }, ticket) : where ?? row.id;
    const item = el("li.card", { "data-map": row.id }, miniature(row.id),
      el("div.told", {}, el("p", {}, el("strong", {}, to), " ", side), el("p", { t: what }),
        el("p.small", {}, row.rig_id ? el("span", { t: ["live.by_rig", { rig: row.rig_id }] }) : null, " ", when)));
    this.rows.unshift({ row, when });
    this.feed.prepend(item);
    if (this.rows.length > SHOWN) {
      this.rows.length = SHOWN;
      this.feed.lastElementChild.remove();
    }
  }

  _showRigs(rigs) {
    if (!rigs.length) {
      replace(this.rigs, el("section.card.empty", {},
        el("h3", { t: "live.no_rigs" }), el("p", { t: "live.no_rigs_help" })));
      return;
    }
    const cards = rigs.map((rig) => {
      const known = this.rigCards.get(rig.id) ?? rigCard(rig.id);
      this.rigCards.set(rig.id, known);
      known.rig = rig;
      if (rig.last_map_id !== known.shown) {
        known.shown = rig.last_map_id;
        replace(known.map, rig.last_map_id ? miniature(rig.last_map_id, { withLegend: true })
          : el("p.quiet.small", { t: "live.rig_no_map" }));
      }
      replace(known.site, rig.site ?? "");
      return known.node;
    });
    if (cards.length !== this.rigs.childElementCount || cards[0] !== this.rigs.firstChild) replace(this.rigs, cards);
  }

  _times() {
    const now = Date.now() + this.skew;
    for (const { row, when } of this.rows) {
      replace(when, ago(now - Date.parse(row.recorded_at)));
      when.title = moment(row.recorded_at);
    }
    for (const { rig, seen, node } of this.rigCards.values()) {
      const since = now - Date.parse(rig.last_seen_at);
      replace(seen, ago(since));
      node.classList.toggle("away", since > AWAY);
    }
  }
}

function rigCard(id) {
  const [seen, site, map] = [el("span.quiet"), el("span.quiet"), el("div")];
  const dot = el("i.dot", { "aria-hidden": "true" });
  const when = el("span.seen", {}, el("span.quiet", { t: "live.seen" }), " ", seen);
  const node = el("article.card.rig", { "data-rig": id }, el("header", {}, dot, el("h3", {}, id), site, when), map);
  return { node, seen, site, map, shown: undefined, rig: null };
}

