/** A picture to the service and its map back, with what is needed to draw it. */

import { call, json } from "./api.js";
import { remember } from "./memory.js";

/**
 * @param {object} shot {blob, name, at, captured}: `at` of performance.now when a camera took it
 * @param {object} query of /v1/detect
 * @returns {{map, picture, lens, lensMissing, took}} `took`: ms from sending to the answer
 */
export async function detect(shot, query, signal) {
  const began = performance.now();
  const age = shot.at === undefined ? null : Math.max(0, began - shot.at).toFixed(1);
  const told = { source: shot.name.slice(0, 500), captured_at: shot.captured?.toISOString(), age_ms: age };
  const type = shot.blob.type || "application/octet-stream";
  const body = shot.blob.type === type ? shot.blob : new Blob([shot.blob], { type });
  const answer = await call("/v1/detect", { method: "POST", query: { ...told, ...query }, body, signal });
  const map = await answer.json();
  const took = performance.now() - began;
  const picture = shot.picture ?? (await createImageBitmap(shot.blob));
  const [lens, lensMissing] = await lensOf(map);
  remember(map.id, picture, lens);
  return { map, picture, lens, lensMissing, took };
}

/** The lens of a map's calibration: [lens or null, whether there should be one]. */
export async function lensOf(map) {
  if (!map.calibration) return [null, false];
  try {
    return [(await json(`/v1/calibrations/${encodeURIComponent(map.calibration)}`)).lens, false];
  } catch {
    return [null, true];
  }
}
