/** Refusals and troubles in words: what it means in the reader's language, then what the service itself said. */

import { Refusal } from "./api.js";
import { el } from "./dom.js";
import { has } from "./i18n.js";

/** A box that tells an error. */
export function problem(error) {
  const slug = error instanceof Refusal && has(`problem.${error.slug}`) ? error.slug : "internal";
  const detail = error instanceof Refusal ? error.detail : String(error?.message ?? error);
  return el("div.problem", { role: "alert" },
    el("strong", { t: `problem.${slug}` }),
    detail ? el("p", { lang: "en" }, detail) : null,
    error.retryAfter ? el("p", { t: ["problem.wait", { count: error.retryAfter }] }) : null,
  );
}

/** What a page says to a key that may not use it. */
export function lacking(scopes) {
  return el("section.card.empty", {},
    el("h2", { t: "scope.title" }),
    el("p", { t: ["scope.needs", { scopes: scopes.join(" / ") }] }),
    el("p.quiet", {}, el("code", {}, `spotgrid keys create --scope ${scopes[0]}`)),
  );
}
