/** What it saves: five figures to move, the answer at once, with its interval; the whole report to keep or print. */

import { call, json } from "../api.js";
import { el, replace, save } from "../dom.js";
import { current, money, number, percent } from "../i18n.js";
import { problem } from "../problems.js";
import { costBars, rangeBar } from "../savingsbars.js";
import { Slider } from "../slider.js";

export const scopes = ["report"];
const PATH = "/v1/reports/savings";
const PAUSE = 120;
const REGIONS = ["cn", "eu", "us"];
const FORMATS = ["html", "pdf", "xlsx", "csv"];

export function create() {
  return new Savings();
}

class Savings {
  constructor() {
    this.choice = { region: "cn", baseline: null, shop: null };
    this.sliders = [];
    this.answer = null;
    this.asking = null;
    this._build();
    document.addEventListener("language", () => this._draw());
  }

  show() {
    if (!this.answer) this._fresh();
  }

  hide() {}

  _build() {
    this.trouble = el("div");
    this.selects = Object.fromEntries(["region", "baseline", "shop"].map((name) => [name,
      el("select", { id: `s-${name}`, onchange: () => this._chosen(name) })]));
    replace(this.selects.region, REGIONS.map((name) => el("option", { value: name, t: `region.${name}` })));
    const fields = Object.entries(this.selects).map(([name, select]) => el("div.field", {},
      el("label", { for: `s-${name}`, t: `savings.${name}` }), select));
    this.knobs = el("div.knobs");
    this.reset = el("button.quiet-button", { type: "button", t: "savings.reset", onclick: () => this._fresh() });
    this.result = el("div.answer", { "aria-live": "polite", "aria-busy": "true" }, el("p.quiet", { t: "savings.working" }));
    this.costs = el("section.card.costs-card");
    this.saving = el("p.quiet", { "aria-live": "polite" });
    this.node = el("div.view.savings", {},
      el("h1", { tabindex: -1, t: "savings.title" }), this.trouble,
      el("div.columns", {},
        el("div.main", {}, this.result, this.costs, this._reports()),
        el("div.side", {}, el("form.card", { onsubmit: (event) => event.preventDefault() },
          el("fieldset", {}, el("legend", { t: "savings.shop_title" }), fields),
          el("fieldset", {}, el("legend", { t: "savings.figures" }), this.knobs, this.reset)))));
  }

  _reports() {
    const buttons = FORMATS.map((format) => el("button", { type: "button", "data-format": format,
      t: `savings.as_${format}`, onclick: (event) => this._keep(format, event.currentTarget) }));
    return el("section.card.reports", {},
      el("h2", { t: "savings.report" }), el("p", { t: "savings.report_help" }), el("div.row", {}, buttons), this.saving);
  }

  async _chosen(name) {
    this.choice[name] = this.selects[name].value;
    if (name === "region") this.choice.shop = null;
    await this._fresh();
  }

  /** Other sliders: those of the region, the process and the shop. */
  async _fresh() {
    this.sliders = [];
    const answer = await this._ask();
    if (!answer) return;
    for (const [name, labels] of Object.entries({ baseline: answer.baselines, shop: answer.shops })) {
      const rows = Object.entries(labels).map(([key, told]) => {
        const words = el("option", { value: key, t: ["plain", { text: () => told[current()] }] });
        words.selected = key === answer.chosen[name];
        return words;
      });
      replace(this.selects[name], rows);
    }
    this.sliders = answer.sliders.map((told) => new Slider(told, () => this._moved()));
    replace(this.knobs, this.sliders.map((slider) => slider.node));
  }

  _moved() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this._ask(), PAUSE);
  }

  _query() {
    return { ...this.choice, set: this.sliders.filter((slider) => slider.moved).map((slider) => slider.set()) };
  }

  async _ask() {
    this.asking?.abort();
    const asking = new AbortController();
    this.asking = asking;
    this.result.setAttribute("aria-busy", "true");
    try {
      const answer = await json(`${PATH}/live`, { query: this._query(), signal: asking.signal });
      this.answer = answer;
      replace(this.trouble);
      this._draw();
      return answer;
    } catch (error) {
      if (error.name !== "AbortError") replace(this.trouble, problem(error));
      return null;
    } finally {
      if (this.asking === asking) this.result.setAttribute("aria-busy", "false");
    }
  }

  _draw() {
    if (!this.answer) return;
    const { share, year, saves, halved, payback_years: payback, currency, groups } = this.answer;
    const [low, middle, high] = share;
    const mood = low > 0 ? "good" : high < 0 ? "bad" : "open";
    const rounded = (value) => money(value, currency, 0);
    const years = { years: () => number(payback, { maximumFractionDigits: 1 }) };
    replace(this.result,
      el(`section.card.headline.${mood}`, {},
        el("p.verdict-line", { t: `savings.mood_${mood}` }),
        el("p.figure", { "data-share": middle }, el("strong", { t: ["plain", { text: () => percent(middle, 1) }] }),
          el("span", { t: "savings.of_cost" })),
        el("p", { t: ["savings.interval", { low: () => percent(low, 1), high: () => percent(high, 1) }] }),
        rangeBar(share),
        el("dl.facts.wide", {},
          row("savings.year", ["savings.year_value", { middle: () => rounded(year[1]), low: () => rounded(year[0]),
            high: () => rounded(year[2]) }]),
          row("savings.saves", ["plain", { text: () => percent(saves) }]),
          row("savings.halved", ["plain", { text: () => percent(halved) }]),
          row("savings.payback", payback === null ? "savings.never" : ["savings.years", years]))));
    replace(this.costs, el("h2", { t: "savings.costs" }), costBars(groups, currency));
  }

  async _keep(format, button) {
    button.disabled = true;
    replace(this.saving, el("span", { t: "savings.working" }));
    try {
      const answer = await call(PATH, { query: { ...this._query(), format, lang: current() } });
      save(await answer.blob(), `spotgrid-savings.${format}`);
      replace(this.saving, el("span", { t: "savings.saved" }));
      replace(this.trouble);
    } catch (error) {
      replace(this.saving);
      replace(this.trouble, problem(error));
      this.trouble.scrollIntoView({ block: "nearest" });
    } finally {
      button.disabled = false;
    }
  }
}

function row(key, told) {
  return el("div", {}, el("dt", { t: key }), el("dd", { t: told }));
}
