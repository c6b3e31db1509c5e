/** One figure that can be moved: a slider, and a field for those who know the number. */

import { el } from "./dom.js";
import { current, has, number, t } from "./i18n.js";

const STEPS = 200;

export class Slider {
  /** @param told {key, labels, unit, value, low, high} of the service; @param moved called when the value changed */
  constructor(told, moved) {
    this.told = told;
    this.onmoved = moved;
    this.share = told.unit === "share";
    this.moved = false;
    const id = `slider-${told.key}`;
    const step = this.share ? 0.01 : nice((told.high - told.low) / STEPS);
    const limits = { min: round(told.low, step, Math.ceil), max: round(told.high, step, Math.floor), step };
    const take = () => this._take(this.range.value);
    this.range = el("input", { type: "range", id, ...limits, value: told.value, oninput: take }); // limits first: they clamp
    this.field = el("input.exact", { type: "number", step: "any", min: 0,
      "t-aria-label": ["plain", { text: () => told.labels[current()] }],
      max: this.share ? 100 : null, value: this._shown(told.value), onchange: () => this._typed() });
    this.node = el("div.slider", { "data-key": told.key },
      el("label", { for: id, t: ["plain", { text: () => told.labels[current()] }] }),
      el("div.pair", {}, this.range, this.field),
      el("p.quiet.small", { t: ["savings.built_in", { value: () => this._told() }] }));
    this.value = told.value;
  }

  /** As the service's `set` takes it. */
  set() {
    return `${this.told.key}=${this.value}`;
  }

  _take(value) {
    this.value = Number(value);
    this.moved = true;
    this.field.value = this._shown(this.value);
    this.node.classList.add("moved");
    this.onmoved();
  }

  _typed() {
    if (!this.field.reportValidity() || this.field.value === "") return;
    const value = Number(this.field.value) / (this.share ? 100 : 1);
    this.range.value = value;
    this.value = value;
    this.moved = true;
    this.node.classList.add("moved");
    this.onmoved();
  }

  _shown(value) {
    return Number((this.share ? 100 * value : value).toPrecision(6));
  }

  _told() {
    return `${number(this._shown(this.told.value))} ${unit(this.told.unit)}`;
  }
}

/** A unit as people write it; counting words are in the language table. */
function unit(name) {
  if (name === "share") return "%";
  return name.split("/").map((part) => (has(`unit.${part}`) ? t(`unit.${part}`) : part)).join("/");
}

function nice(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return power * [1, 2, 5, 10].find((size) => size * power >= step * 0.999);
}

function round(value, step, how) {
  return Number((how(value / step - 1e-9 * (how === Math.ceil ? 1 : -1)) * step).toPrecision(12));
}
