/** Words, numbers and times in the reader's language. Every string of the console is in lang/en.json and zh.json. */

export const LANGUAGES = ["en", "zh"];
const LOCALES = { en: "en", zh: "zh-CN" };
const STORED = "spotgrid.language";
const MARK = "data-t";

const tables = {};
const bindings = new WeakMap();
let language = "en";

/** What the reader chose before, else what the browser asks for. */
export function preferred() {
  const chosen = localStorage.getItem(STORED);
  if (LANGUAGES.includes(chosen)) return chosen;
  return (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
}

export function current() {
  return language;
}

/** Change the language of all that is on the page, where it stands; "language" is sent to the document afterwards. */
export async function use(wanted) {
  if (!tables[wanted]) {
    const answer = await fetch(`/lang/${wanted}.json`);
    if (!answer.ok) throw new Error(`lang/${wanted}.json: ${answer.status}`);
    tables[wanted] = await answer.json();
  }
  language = wanted;
  document.documentElement.lang = LOCALES[wanted];
  for (const node of document.querySelectorAll(`[${MARK}]`)) apply(node);
  document.dispatchEvent(new Event("language"));
}

/** As `use`, and remember it. */
export async function choose(wanted) {
  localStorage.setItem(STORED, wanted);
  await use(wanted);
}

/**
 * A text, filled in. Numbers are written as the language writes them; functions are asked at that moment; a text with
 * "one" and "other" follows values.count.
 */
export function t(key, values = {}) {
  const found = tables[language][key];
  if (found === undefined) throw new Error(`no text for ${key}`);
  const count = typeof values.count === "function" ? values.count() : values.count;
  const form = typeof found === "string" ? found : found[rules().select(count)] ?? found.other;
  return form.replace(/\{(\w+)\}/g, (_, name) => shown(values[name]));
}

export function has(key) {
  return key in tables[language];
}

export function number(value, options = {}) {
  return new Intl.NumberFormat(LOCALES[language], options).format(value);
}

export function percent(value, digits = 0) {
  return number(value, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function money(value, currency, digits = 0) {
  const options = { style: "currency", currency, maximumFractionDigits: digits, minimumFractionDigits: digits };
  return number(value, { ...options, currencyDisplay: language === "zh" ? "narrowSymbol" : "symbol" });
}

/** A time as the reader's clock shows it. */
export function moment(iso, options = { dateStyle: "medium", timeStyle: "short" }) {
  return new Intl.DateTimeFormat(LOCALES[language], options).format(new Date(iso));
}

/** A length of time: "41 ms", "2.3 s". */
export function duration(milliseconds) {
  const short = milliseconds < 1000;
  const value = short ? milliseconds : milliseconds / 1000;
  const unit = { style: "unit", unit: short ? "millisecond" : "second", unitDisplay: "short" };
  return number(value, { ...unit, maximumFractionDigits: value < 10 ? 1 : 0 });
}

/** How long ago, in words: "3 minutes ago". */
export function ago(milliseconds) {
  const words = new Intl.RelativeTimeFormat(LOCALES[language], { numeric: "auto" });
  const steps = [[86_400_000, "day"], [3_600_000, "hour"], [60_000, "minute"], [1000, "second"]];
  const [size, unit] = steps.find(([step]) => milliseconds >= step) ?? steps[3];
  return words.format(-Math.floor(Math.max(0, milliseconds) / size), unit);
}

/** Let a node's text (attribute null) or an attribute follow the language. */
export function bind(node, attribute, told) {
  const [key, values] = Array.isArray(told) ? told : [told, {}];
  const known = bindings.get(node) ?? new Map();
  known.set(attribute, [key, values ?? {}]);
  bindings.set(node, known);
  node.setAttribute(MARK, "");
  write(node, attribute, key, values ?? {});
}

function apply(node) {
  for (const [attribute, [key, values]] of bindings.get(node) ?? []) write(node, attribute, key, values);
}

function write(node, attribute, key, values) {
  if (attribute === null) node.textContent = t(key, values);
  else node.setAttribute(attribute, t(key, values));
}

function shown(value) {
  const plain = typeof value === "function" ? value() : value;
  return typeof plain === "number" ? number(plain) : String(plain ?? "");
}

function rules() {
  return new Intl.PluralRules(LOCALES[language]);
}
