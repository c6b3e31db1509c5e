/** The door: an access key, kept in this tab's session only. */

import { forget, json, keepKey } from "./api.js";
import { el, replace } from "./dom.js";
import { problem } from "./problems.js";

/**
 * @param {Element} languages the language switch
 * @param {boolean} ended whether an earlier key was refused
 * @param {(status: object) => void} entered told of /v1/status when the key is good
 */
export function signIn(languages, ended, entered) {
  const trouble = el("div", {}, ended ? el("p.problem", { role: "alert", t: "signin.ended" }) : null);
  const key = el("input", { id: "key", type: "password", required: true, autocomplete: "off", spellcheck: "false",
    autocapitalize: "off", "aria-describedby": "key-help" });
  const go = el("button.primary.wide", { type: "submit", t: "signin.enter" });
  const submit = async (event) => {
    event.preventDefault();
    const secret = key.value.trim();
    if (!secret) return;
    go.disabled = true;
    replace(trouble);
    try {
      const status = await json("/v1/status", { key: secret });
      keepKey(secret);
      entered(status);
    } catch (error) {
      forget();
      replace(trouble, problem(error));
      key.select();
    } finally {
      go.disabled = false;
    }
  };
  return el("main.door", {},
    el("div.door-top", {}, languages),
    el("section.card.door-card", {},
      el("img.mark", { src: "/favicon.svg", alt: "", width: 56, height: 56 }),
      el("h1", { t: "brand" }), el("p.lead", { t: "signin.lead" }),
      el("form", { onsubmit: submit },
        el("div.field", {}, el("label", { for: "key", t: "signin.key" }), key),
        trouble, go),
      el("p.quiet.small", { id: "key-help", t: "signin.help" }),
      el("p.quiet.small", {}, el("code", {}, "spotgrid keys create --scope detect"))));
}
