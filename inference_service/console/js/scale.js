/** How large the picture is: mm per px, the width that it shows, or a calibration that the service keeps. */

import { el } from "./dom.js";

const STORED = "spotgrid.scale";
const WAYS = {
  width: { type: "number", min: 1, max: 20000, step: "any", unit: "mm", value: "600" },
  scale: { type: "number", min: 0.02, max: 5, step: "any", unit: "mm/px", value: "0.25" },
  calibration: { type: "text", maxlength: 200, unit: "", value: "" },
};

export class ScaleChooser {
  constructor() {
    const kept = read();
    this.way = kept.way in WAYS ? kept.way : "width";
    this.inputs = Object.fromEntries(Object.entries(WAYS).map(([way, told]) => [way, makeInput(way, told, kept[way])]));
    const choices = Object.keys(WAYS).map((way) => el("label", {},
      el("input", { type: "radio", name: "way", value: way, checked: way === this.way, onchange: () => this._use(way) }),
      el("span", { t: `scale.${way}` })));
    this.fields = Object.entries(WAYS).map(([way, { unit }]) => el("div.field", { "data-way": way },
      el("label", { for: `scale-${way}`, t: `scale.${way}_label` }),
      el("div.with-unit", {}, this.inputs[way], unit ? el("span", {}, unit) : null),
      el("p.quiet.small", { t: `scale.${way}_help` })));
    this.node = el("fieldset", {}, el("legend", { t: "scale.title" }), el("div.segments", {}, choices), this.fields);
    this._use(this.way);
  }

  /** The query of /v1/detect for a picture so many px wide, or null when the form is not filled in (it then says so). */
  query(widthPx) {
    const field = this.inputs[this.way];
    if (!field.reportValidity()) return null;
    const kept = Object.fromEntries(Object.entries(this.inputs).map(([way, { value }]) => [way, value]));
    localStorage.setItem(STORED, JSON.stringify({ way: this.way, ...kept }));
    if (this.way === "calibration") return { calibration: field.value.trim() };
    return { mm_per_px: this.way === "scale" ? field.value : Number(field.value) / widthPx };
  }

  _use(way) {
    this.way = way;
    // A field that is not shown is switched off, or the browser would hold the form back over it.
    for (const field of this.fields) field.hidden = field.dataset.way !== way;
    for (const [name, input] of Object.entries(this.inputs)) input.disabled = name !== way;
  }
}

function makeInput(way, { type, value, unit, ...limits }, kept) {
  const words = { id: `scale-${way}`, required: true, autocomplete: "off", value: kept ?? value };
  return el("input", { type, ...words, inputmode: type === "number" ? "decimal" : null, ...limits });
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(STORED)) ?? {};
  } catch {
    return {};
  }
}
