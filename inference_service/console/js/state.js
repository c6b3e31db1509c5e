/** The service's figures in tiles: ready, queue, ages of results, drops, refusals, networks. */

import { el, replace, svg } from "./dom.js";
import { duration, number } from "./i18n.js";
import { gained } from "./quantile.js";

const WINDOW = 60_000;
const LATE_MS = 1000;

export class State {
  constructor() {
    this.history = [];
    this.node = el("section.tiles", { "aria-busy": "true" }, el("p.quiet", { t: "live.waiting" }));
    document.addEventListener("language", () => this.history.length && this._draw());
  }

  show(status) {
    this.history.push({ at: performance.now(), status });
    while (this.history.length > 2 && this.history.at(-1).at - this.history[1].at > WINDOW) this.history.shift();
    this.node.setAttribute("aria-busy", "false");
    this._draw();
  }

  _draw() {
    const { status } = this.history.at(-1);
    const first = this.history[0].status;
    const lately = this.history.length > 1 ? first.age_buckets : null;
    const ages = [0.5, 0.95].map((share) => gained(lately, status.age_buckets, share));
    const { queue } = status;
    replace(this.node,
      tile("state.ready", el("strong", { t: status.ready ? "state.yes" : "state.no" }), status.ready ? "good" : "bad",
        status.because ? el("span", { lang: "en" }, status.because) : networks(status.models)),
      tile("state.queue_age", ms(queue.age_ms), queue.age_ms > LATE_MS ? "warn" : "",
        this._spark((entry) => entry.queue.age_ms)),
      tile("state.queue", el("strong", { t: ["state.of", { count: queue.waiting, size: queue.queue_size }] }),
        queue.queue_size && queue.waiting >= queue.queue_size ? "bad" : "",
        el("span", { t: ["state.running", { count: queue.running, places: queue.places }] })),
      tile("state.age", ages[0] === null ? el("strong", { t: "state.none" }) : ms(ages[0]), "",
        el("span", { t: ages[1] === null ? "state.no_results" : ["state.p95", { time: () => duration(ages[1]) }] })),
      tile("state.drops", count(status.drops), status.drops > first.drops ? "warn" : "",
        el("span", { t: "state.drops_help" })),
      tile("state.maps", count(status.maps), "", el("span", { t: ["state.refused", { count: status.refused }] })));
  }

  /** The last minute as a line. */
  _spark(of) {
    const values = this.history.map(({ status }) => of(status));
    const most = Math.max(...values, 1);
    const step = 100 / Math.max(1, values.length - 1);
    const points = values.map((value, at) => `${(at * step).toFixed(1)},${(19 - (18 * value) / most).toFixed(1)}`);
    return svg("svg.spark", { viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("polyline", { points: points.join(" ") }));
  }
}

function tile(key, value, mood, note) {
  return el(`div.tile${mood ? `.${mood}` : ""}`, { "data-tile": key },
    el("span.label", { t: key }), value, el("span.note", {}, note));
}

function ms(value) {
  return el("strong", { t: ["plain", { text: () => duration(value) }] });
}

function count(value) {
  return el("strong", { t: ["plain", { text: () => number(value) }] });
}

function networks(models) {
  const told = models.map((model) => model.model.split("+")[0]);
  return el("span", {}, [...new Set(told)].join(", "));
}
