/** Pictures that this tab has looked at, by map id: the service keeps none unless told to. Gone with the tab. */

const MOST = 24;
const pictures = new Map();

export function remember(mapId, picture, lens) {
  pictures.set(mapId, { picture, lens });
  for (const old of [...pictures.keys()].slice(0, -MOST)) pictures.delete(old);
}

/** {picture, lens} of a map, or {picture: null, lens: null}. */
export function recall(mapId) {
  return pictures.get(mapId) ?? { picture: null, lens: null };
}
