/** The console: who is in, which page shows, in which language. */

import { forget, hasKey, json } from "./api.js";
import { el, replace, svg } from "./dom.js";
import { choose, current, LANGUAGES, preferred, t, use } from "./i18n.js";
import { picturesKept } from "./maps.js";
import { lacking, problem } from "./problems.js";
import { signIn } from "./signin.js";
import * as garments from "./views/garments.js";
import * as live from "./views/live.js";
import * as look from "./views/look.js";
import * as savings from "./views/savings.js";

const PAGES = { look, garments, live, savings };
const ICONS = {
  look: "M4 8V5a1 1 0 0 1 1-1h3M16 4h3a1 1 0 0 1 1 1v3M20 16v3a1 1 0 0 1-1 1h-3M8 20H5a1 1 0 0 1-1-1v-3M9 9h6v6H9z",
  garments: "M9 4 4 7l2 4 2-1v10h8V10l2 1 2-4-5-3a3 3 0 0 1-6 0z",
  live: "M3 13h4l3-8 4 14 3-6h4",
  savings: "M5 20V11M12 20V4M19 20v-6",
};
const ENDED = "spotgrid.ended";
const root = document.getElementById("app");

class Console {
  constructor(status) {
    this.mine = status.scopes;
    picturesKept(status.pictures_kept);
    this.views = new Map();
    this.shown = null;
    this.main = el("main", { id: "main", tabindex: -1 });
    this.links = Object.fromEntries(Object.keys(PAGES).map((name) => [name, el("a", { href: `#/${name}` },
      icon(ICONS[name]), el("span", { t: `nav.${name}` }))]));
    this.out = el("button.quiet-button", { type: "button", t: "nav.out", onclick: leave });
    replace(root,
      el("a.skip", { href: "#main", t: "nav.skip", onclick: (event) => {
        event.preventDefault();
        this.main.focus();
      } }),
      el("header.top", {},
        el("a.brand", { href: "#/" }, el("img", { src: "/favicon.svg", alt: "", width: 28, height: 28 }),
          el("span", { t: "brand" })),
        el("nav", { "t-aria-label": "nav.title" }, Object.values(this.links)),
        el("div.end", {}, languages(), this.out)),
      this.main);
    this._follow = () => this.go(true);
    addEventListener("hashchange", this._follow);
    document.addEventListener("language", () => this._title());
    this.go(false);
  }

  /** Show the page that the address names, else the first that this key may use. */
  go(focus) {
    const [, wanted, ...rest] = location.hash.split("/");
    const name = wanted in PAGES ? wanted : Object.keys(PAGES).find((page) => this._may(page)) ?? "look";
    if (this.shown && this.shown !== name) {
      const before = this.views.get(this.shown);
      before.hide();
      before.node.hidden = true;
    }
    if (!this.views.has(name)) {
      const made = this._may(name) ? PAGES[name].create(this.mine) : closed(name);
      this.views.set(name, made);
      this.main.append(made.node);
    }
    this.shown = name;
    const view = this.views.get(name);
    view.node.hidden = false;
    for (const [page, link] of Object.entries(this.links)) {
      if (page === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this._title();
    view.show(read(rest.join("/")));
    if (focus) view.node.querySelector("h1")?.focus();
  }

  _may(name) {
    return PAGES[name].scopes.some((scope) => this.mine.includes(scope));
  }

  _title() {
    document.title = `${t(`nav.${this.shown}`)} · ${t("brand")}`;
  }
}

function closed(name) {
  const node = el("div.view", {}, el("h1", { tabindex: -1, t: `nav.${name}` }), lacking(PAGES[name].scopes));
  return { node, show() {}, hide() {} };
}

function read(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function icon(path) {
  return svg("svg.icon", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: path }));
}

function languages() {
  const buttons = LANGUAGES.map((name) => el("button", { type: "button", "data-language": name, lang: name,
    t: `language.${name}`, onclick: () => choose(name) }));
  const mark = () => {
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.language === current());
  };
  document.addEventListener("language", mark);
  mark();
  return el("div.languages", { role: "group", "t-aria-label": "language.title" }, buttons);
}

/** Forget the key and everything that was seen with it. */
function leave() {
  forget();
  location.reload();
}

function door(ended) {
  replace(root, signIn(languages(), ended, (status) => new Console(status)));
  root.querySelector("#key").focus();
}

async function start() {
  await use(preferred());
  const ended = sessionStorage.getItem(ENDED) !== null;
  sessionStorage.removeItem(ENDED);
  if (!hasKey()) return door(ended);
  try {
    return new Console(await json("/v1/status"));
  } catch (error) {
    if (error.status === 401) return null; // "signedout" brings the door
    return replace(root, el("main.door", {}, el("section.card.door-card", {}, problem(error),
      el("button.primary", { type: "button", t: "retry", onclick: () => location.reload() }))));
  }
}

/** A key that ends while it is used: everything that was seen with it goes, and the door says why. */
function end() {
  if (!hasKey()) return;
  forget();
  sessionStorage.setItem(ENDED, "1");
  location.reload();
}

document.addEventListener("signedout", end);
start();
