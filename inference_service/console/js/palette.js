/** What a stain can be, and its colour: Okabe and Ito's, as in model/legend.py. A test holds the two together. */

export const PALETTE = {
  protein: "#d55e00",
  tannin: "#e69f00",
  oil: "#f0e442",
  dye: "#0072b2",
  particulate: "#009e73",
  combination: "#cc79a7",
};

export const CHEMISTRIES = Object.keys(PALETTE);

/** A cell's likeliest class. */
export function likeliest(classes) {
  return CHEMISTRIES.reduce((best, name) => (classes[name] > classes[best] ? name : best));
}

/** A colour made darker, for lines: 0.7 of each channel, as in model/overlay.py. */
export function darker(colour) {
  const channels = [1, 3, 5].map((at) => Math.trunc(0.7 * parseInt(colour.slice(at, at + 2), 16)));
  return `rgb(${channels.join(" ")})`;
}
