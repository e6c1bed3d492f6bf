// @ts-check
/** Requests to the proxy: JSON both ways, and each refusal as an error that says why. */

export const BASE = "../api/v1";

/** What was refused: the status, and what the proxy says of it. */
export class Refused extends Error {
  /** @param {number} status @param {any} body */
  constructor(status, body) {
    super(body?.error || `The proxy answered with status ${status}.`);
    this.status = status;
    this.body = body ?? {};
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @param {number | null} [over] the revision that the write was made of
 */
export async function ask(method, path, body, over) {
  /** @type {{[name: string]: string}} */
  const headers = { "X-Canary-Console": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (over !== undefined) headers["If-Match"] = `"${over ?? 0}"`;
  let response;
  try {
    response = await fetch(`${BASE}/${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(15000),
    });
  } catch {
    throw new Refused(0, { error: "The proxy does not answer. Nothing is known of what it did." });
  }
  const said = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, said);
  return said;
}

/** @param {string} service @param {string} rest */
export const of = (service, rest) => `services/${encodeURIComponent(service)}${rest}`;
