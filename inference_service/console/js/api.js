/** Calls to the service that this page came from, with the access key; refusals become errors that can be shown. */

const STORED = "spotgrid.key";

/** A call that was refused (`slug` of the problem, as in docs/service.md), or that never arrived ("network"). */
export class Refusal extends Error {
  constructor(slug, detail, status = 0, retryAfter = 0) {
    super(detail);
    Object.assign(this, { slug, detail, status, retryAfter });
  }
}

export function hasKey() {
  return sessionStorage.getItem(STORED) !== null;
}

export function keepKey(secret) {
  sessionStorage.setItem(STORED, secret);
}

/** Forget the key and all that was seen with it. */
export function forget() {
  sessionStorage.removeItem(STORED);
}

/**
 * One call.
 * @param {object} options method, query (null values are left out; arrays repeat), body, signal, key (instead of the
 *   kept one)
 * @returns {Promise<Response>} a good answer
 * @throws {Refusal}
 */
export async function call(path, { method = "GET", query = {}, body, signal, key } = {}) {
  const secret = key ?? sessionStorage.getItem(STORED) ?? "";
  const headers = { Authorization: `Bearer ${secret}`, Accept: "application/json, */*;q=0.5" };
  let answer;
  try {
    const options = { method, headers, body, signal, cache: "no-store", credentials: "omit", redirect: "error" };
    answer = await fetch(path + search(query), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("network", "");
  }
  if (answer.ok) return answer;
  const refusal = await read(answer);
  if (refusal.status === 401 && key === undefined) document.dispatchEvent(new Event("signedout"));
  throw refusal;
}

/** The answer of a call as JSON. */
export async function json(path, options) {
  return (await call(path, options)).json();
}

async function read(answer) {
  const wait = Number(answer.headers.get("Retry-After")) || 0;
  try {
    const problem = await answer.json();
    const slug = String(problem.type).startsWith("urn:spotgrid:problem:") ? problem.type.split(":").pop() : "internal";
    return new Refusal(slug, String(problem.detail ?? ""), answer.status, wait);
  } catch {
    return new Refusal("internal", "", answer.status, wait);
  }
}

function search(query) {
  const wanted = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item !== null && item !== undefined && item !== "") wanted.append(name, item);
    }
  }
  const text = wanted.toString();
  return text ? `?${text}` : "";
}
