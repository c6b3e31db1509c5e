/** Maps that the service keeps, small: fetched once each, drawn over the picture where this tab has it. */

import { call, json, Refusal } from "./api.js";
import { lensOf } from "./detect.js";
import { el, replace, text } from "./dom.js";
import { legend } from "./inspect.js";
import { MapView } from "./mapview.js";
import { recall, remember } from "./memory.js";

const MOST = 60;
const known = new Map();

/** A map by its id; null where this key may not see it or it is no longer kept. */
export async function fetchMap(id) {
  if (!known.has(id)) {
    for (const old of [...known.keys()].slice(0, -MOST)) known.delete(old);
    known.set(id, json(`/v1/stainmaps/${encodeURIComponent(id)}`).catch((error) => {
      known.delete(id);
      if ([403, 404].includes(error.status)) return null;
      throw error;
    }));
  }
  return known.get(id);
}

/** Whether the service keeps pictures (`pictures_kept` of /v1/status): else none is asked for. */
let kept = false;

export function picturesKept(yes) {
  kept = yes;
}

/** A map's picture with the lens it was seen through: from this tab, else from the service. */
async function pictureOf(map) {
  const own = recall(map.id);
  if (own.picture || !kept) return own;
  try {
    const answer = await call(`/v1/stainmaps/${encodeURIComponent(map.id)}/picture`);
    const [picture, [lens]] = await Promise.all([createImageBitmap(await answer.blob()), lensOf(map)]);
    remember(map.id, picture, lens);
    return recall(map.id);
  } catch {
    return own;
  }
}

/**
 * A figure of a map that fills itself when the map has come. `withLegend`: its picture is fetched if it is kept, and its
 * colours are told below it.
 */
export function miniature(id, { withLegend = false, caption = null } = {}) {
  const view = new MapView({ still: true });
  const note = el("p.quiet.small", { t: "map.loading" });
  const figure = el("figure.mini", {}, caption, note);
  fetchMap(id).then(async (map) => {
    if (!map) return replace(figure, caption, el("p.quiet.small.missing", { t: "map.hidden" }));
    const { picture, lens } = withLegend ? await pictureOf(map) : recall(id);
    replace(figure, caption, view.canvas, withLegend ? legendOf(map, view, picture) : null);
    return view.show(picture, map, lens);
  }).catch((error) => {
    if (!(error instanceof Refusal)) console.error(error); // a fault of this page: let it be seen
    replace(figure, caption, el("p.quiet.small.missing", { t: "map.failed" }));
  });
  return figure;
}

function legendOf(map, view, picture) {
  const own = el("div.mini-legend");
  queueMicrotask(() => replace(own,
    map.cells.length ? legend(map, view.cells) : el("p.quiet", { t: "result.clean" }),
    picture ? null : el("p.quiet.small", {}, text("map.flat"))));
  return own;
}
