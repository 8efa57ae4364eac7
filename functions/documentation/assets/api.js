// The API as this page speaks it: requests, their repeats, and problems as errors.
// Nothing here knows the page.

const TOKEN = "access-token";
const ATTEMPTS = 5;
const TIMEOUT = 15_000; // A function is given 10 s; whatever takes longer got lost.
const LONGEST_WAIT = 10_000; // Beyond this, a person would rather be told than wait.

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? "",
  set: (value) => (value ? sessionStorage.setItem(TOKEN, value) : sessionStorage.removeItem(TOKEN)),
};

/** Why a request failed. `status` is 0 when there was no answer; `errors` is `{field: [reasons]}`. */
export class Problem extends Error {
  constructor(status, detail, { errors = {}, retryAfter = 0 } = {}) {
    super(detail);
    Object.assign(this, { status, errors, retryAfter });
  }

  /** Whether the same request may do better later. */
  get isTransient() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** How many milliseconds to wait after so many failures: doubling, with jitter, never less than the service asked for. */
  delay(failures, first, longest) {
    const backoff = Math.min(first * 2 ** (failures - 1), longest);
    return Math.max(this.retryAfter, backoff * (0.75 + Math.random() / 2));
  }
}

/** A request, complete but for the access token. A POST is given its idempotency key here. */
export function prepare(method, path, body) {
  const headers = {};
  const text = body === undefined ? undefined : JSON.stringify(body);
  if (text !== undefined) headers["Content-Type"] = "application/json";
  if (method === "POST") headers["Idempotency-Key"] = idempotencyKey(path, text);
  return { method, path, headers, body: text };
}

/** The request as a shell command. The access token is never written into it. */
export function curl({ method, path, headers, body }) {
  const parts = [`curl -X ${method} ${quoted(location.origin + path)}`];
  for (const [name, value] of Object.entries(headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (token.get()) parts.push('-H "Authorization: Bearer $TOKEN"');
  if (body !== undefined) parts.push(`--data-raw ${quoted(body)}`);
  return parts.join(" \\\n  ");
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * Sends a request and answers `{status, data}`, or throws a Problem. Every request of this page may be repeated (GET, PATCH
 * and DELETE are idempotent, a POST has its key), so it is, when there was no answer or the service asked for patience.
 */
export async function send(request, { signal, attempts = ATTEMPTS, onRepeat } = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await exchange(request, signal);
      forgetKey(request);
      signal?.throwIfAborted(); // Nothing is answered to a view that was left.
      return answer;
    } catch (problem) {
      if (problem.status === 410) forgetKey(request);
      if (!problem.isTransient || attempt === attempts || problem.retryAfter > LONGEST_WAIT) throw problem;
      onRepeat?.(problem);
      await new Promise((resolve) => setTimeout(resolve, problem.delay(attempt, 500, LONGEST_WAIT)));
      signal?.throwIfAborted();
    }
  }
}

async function exchange({ method, path, headers, body }, signal) {
  const timeout = AbortSignal.timeout(TIMEOUT);
  const authorization = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  let response, text;
  try {
    response = await fetch(path, {
      method,
      body,
      headers: { ...headers, ...authorization },
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "The service did not answer.");
  }
  const data = parsed(text);
  if (response.ok) return { status: response.status, data };
  const detail = explained(response, data);
  throw new Problem(response.status, detail, { errors: data?.errors, retryAfter: retryAfter(response.headers) });
}

/** What went wrong in plain words: from problem details, or from the `{"message"}` of API Gateway. */
function explained({ status }, data) {
  if (status === 401) {
    const refused = token.get() ? "The access token was refused; it may have expired." : "This needs an access token.";
    return `${refused} Paste a valid one under “Access token” at the top of the page.`;
  }
  if (status === 403) return data?.detail ?? "The access token is valid, but it does not allow this.";
  if (status === 429) return "Too many requests at the moment; try again shortly.";
  if (data?.detail) return data.detail;
  return status >= 500 ? "The service is not available right now." : data?.message ?? `The service answered ${status}.`;
}

/** `Retry-After` in milliseconds; it is a number of seconds or a date. */
function retryAfter(headers) {
  const value = headers.get("Retry-After") ?? "";
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Math.max(0, wait || 0);
}

function parsed(text) {
  try {
    return parseJson(text);
  } catch {
    return undefined; // Nothing, or a page of something in between.
  }
}

/**
 * JSON whose numbers keep their spelling where JavaScript would change it (1.10, 1e400, twenty digits), in browsers that
 * can: the service gives metadata back as it was sent, and an edit here should not spoil that.
 */
export function parseJson(text) {
  const asWritten = (key, value, context) => {
    const changes = typeof value === "number" && context?.source !== undefined && String(value) !== context.source;
    return changes && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
  };
  return JSON.parse(text, asWritten);
}

// One key per draft: the same bytes to the same path keep it until they are known to have arrived, also when a person tries
// again much later; anything else is a new draft.

const drafts = new Map();

function idempotencyKey(path, body) {
  if (drafts.get(path)?.body !== body) drafts.set(path, { body, key: uuid() });
  return drafts.get(path).key;
}

function forgetKey({ method, path }) {
  if (method === "POST") drafts.delete(path);
}

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Plain http on another host than localhost has no randomUUID.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
