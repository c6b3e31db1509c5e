/** The interval of the saving, and costs side by side, as bars. */

import { el } from "./dom.js";
import { money, percent } from "./i18n.js";

/** Low, median and high on a line from at most -100 % to 100 %, zero marked. */
export function rangeBar([low, middle, high]) {
  const reach = Math.max(0.1, ...[low, high].map((value) => Math.ceil(Math.abs(value) * 10) / 10));
  const at = (value) => `${(50 * (1 + Math.max(-1, Math.min(1, value / reach)))).toFixed(2)}%`;
  const span = el("b.span");
  span.style.left = at(low);
  span.style.width = `calc(${at(high)} - ${at(low)})`;
  const dot = el("b.middle");
  dot.style.left = at(middle);
  const ends = [-reach, 0, reach].map((value) => el("span", { t: ["plain", { text: () => percent(value) }] }));
  return el("div.range", { "aria-hidden": "true" }, el("div.range-line", {}, el("b.zero"), span, dot),
    el("div.range-ends", {}, ends));
}

/** {group: [conventional, per-area]} in money per garment, as a table with bars. */
export function costBars(groups, currency) {
  const rows = Object.entries(groups);
  const most = Math.max(...rows.flatMap(([, pair]) => pair), 1e-9);
  const total = [0, 1].map((side) => rows.reduce((sum, [, pair]) => sum + pair[side], 0));
  const head = ["savings.group", "savings.conventional", "savings.per_area"];
  return el("table.costs", {},
    el("caption.quiet.small", { t: "savings.per_garment" }),
    el("thead", {}, el("tr", {}, head.map((key) => el("th", { scope: "col", t: key })))),
    el("tbody", {}, rows.map(([group, pair]) => line(group, pair, most, currency))),
    el("tfoot", {}, el("tr", {}, el("th", { scope: "row", t: "savings.total" }),
      total.map((value) => el("td", { t: ["plain", { text: () => money(value, currency, 2) }] })))));
}

function line(group, pair, most, currency) {
  const cells = pair.map((value, side) => {
    const fill = el(`b.fill.${side ? "area" : "base"}`);
    fill.style.width = `${Math.max(0, (100 * value) / most)}%`;
    return el("td", {}, el("span", { t: ["plain", { text: () => money(value, currency, 2) }] }),
      el("span.track", { "aria-hidden": "true" }, fill));
  });
  return el("tr", {}, el("th", { scope: "row", t: `group.${group}` }), cells);
}
