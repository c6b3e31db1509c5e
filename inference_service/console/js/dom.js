/** Elements are built, never parsed: no text from anywhere becomes markup. */

import { bind } from "./i18n.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @param {string} name tag, with classes after dots: "p.note.small"
 * @param {object} attributes "onclick" and the like take functions; "t" and "t-ATTRIBUTE" take [key, values] or a key of
 *   the language table and follow the language; true = present, null or false = left out
 * @param children nodes, text, arrays of them; null is left out
 */
export function el(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  return fill(document.createElement(tag), classes, attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  return fill(document.createElementNS(SVG, tag), classes, attributes, children);
}

/** Put other children into a node. */
export function replace(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
}

/** A line of text in the reader's language. */
export function text(key, values) {
  return el("span", { t: [key, values] });
}

/** Say something to those who listen instead of looking. */
export function announce(words) {
  document.getElementById("announcer").textContent = words;
}

/** Let the browser save bytes as a file. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function fill(node, classes, attributes, children) {
  if (classes.length) node.classList.add(...classes);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "t") bind(node, null, value);
    else if (key.startsWith("t-")) bind(node, key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}
