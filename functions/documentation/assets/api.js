// HTTP client of the page: sends requests, repeats them, and turns failures into `Problem`s.
// Independent of the DOM, except for the event that says whether authentication is on.

const TOKEN_KEY = "access-token";
const REQUIRED_KEY = "token-required";
const MAX_ATTEMPTS = 5;
const TIMEOUT = 15_000; // The service's functions time out after 10 s.
const MAX_WAIT = 10_000; // Report the failure instead of waiting longer than this.
const MAX_THROTTLED = 60_000; // Report a post that has been refused for this long.

export const token = {
  get: () => sessionStorage.getItem(TOKEN_KEY) ?? "",
  set: (value) =>
    value ? sessionStorage.setItem(TOKEN_KEY, value) : sessionStorage.removeItem(TOKEN_KEY),
};

/** Returns whether the service requires a token; null until a request without one was answered. */
export const isTokenRequired = () => JSON.parse(sessionStorage.getItem(REQUIRED_KEY));

/** Learns from the response to a request without a token. */
function learnFrom({ status, ok }) {
  if (!ok && status !== 401) return;
  const before = isTokenRequired();
  sessionStorage.setItem(REQUIRED_KEY, JSON.stringify(!ok));
  if (before !== !ok) document.dispatchEvent(new Event("authentication"));
}

/**
 * Failure of a request, with a message for the user.
 *
 * - `status`: HTTP status; 0 if there was no response
 * - `code`: cause of the failure as the service names it, for example `invalid`; may be absent
 * - `errors`: `{field: [reasons]}`
 * - `retryAfter`: milliseconds
 */
export class Problem extends Error {
  constructor(status, message, { code, errors = {}, retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { status, code, errors, retryAfter });
  }

  /** Creates the problem of fields that the page itself finds invalid. */
  static invalid(errors) {
    return new Problem(422, "", { code: "invalid", errors });
  }

  /** Returns whether the same request may succeed later. `internal` is a bug: it will not. */
  get isTransient() {
    const { status, code } = this;
    return status === 0 || status === 429 || (status >= 500 && code !== "internal");
  }

  /** Returns whether the service has refused a post for its rate, before storing anything. */
  get isThrottled() {
    return ["rate_limited", "conversation_busy"].includes(this.code);
  }

  /**
   * Returns the milliseconds to wait after this many failures: exponential backoff with jitter,
   * at least `Retry-After`.
   */
  delay(failures, first, longest) {
    const backoff = Math.min(first * 2 ** (failures - 1), longest);
    return Math.max(this.retryAfter, backoff * (0.75 + Math.random() / 2));
  }
}

/**
 * Creates a request without the access token. A POST gets its idempotency key here. `version` is
 * the version that the resource must have, as the user has seen it.
 */
export function prepare(method, path, { body, version } = {}) {
  const headers = {};
  if (version !== undefined) headers["If-Match"] = `"${version}"`;
  const text = body === undefined ? undefined : JSON.stringify(body);
  if (text !== undefined) headers["Content-Type"] = "application/json";
  if (method === "POST") headers["Idempotency-Key"] = idempotencyKey(path, text);
  return { method, path, headers, body: text };
}

/** Returns the request as a shell command, with `$TOKEN` in place of the access token. */
export function curl({ method, path, headers, body }) {
  const parts = [`curl -X ${method} ${shellQuote(location.origin + path)}`];
  for (const [name, value] of Object.entries(headers)) {
    parts.push(`-H ${shellQuote(`${name}: ${value}`)}`);
  }
  if (token.get()) parts.push('-H "Authorization: Bearer $TOKEN"');
  if (body !== undefined) parts.push(`--data-raw ${shellQuote(body)}`);
  return parts.join(" \\\n  ");
}

const shellQuote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * Sends a request. Returns `{status, data}` or throws a `Problem`.
 *
 * Repeats the request after transient failures, and calls `onRepeat(problem, delay)` before each
 * wait. Every request of the page is safe to repeat: a POST has an idempotency key, and the other
 * methods are idempotent. A repeated PATCH may return 412, because the version that it names
 * is the one before its own first attempt; dialogs.js handles that.
 */
export async function send(request, { signal, attempts = MAX_ATTEMPTS, onRepeat } = {}) {
  const throttledUntil = Date.now() + MAX_THROTTLED;
  for (let failures = 0; ; ) {
    try {
      const response = await exchange(request, signal);
      forgetKey(request);
      signal?.throwIfAborted(); // The view has been left: drop the response.
      return response;
    } catch (problem) {
      if (["gone", "idempotency_key_reused"].includes(problem.code)) forgetKey(request);
      if (!problem.isTransient) throw problem;
      let delay = problem.retryAfter + Math.random() * 250;
      if (problem.isThrottled) {
        if (Date.now() + delay > throttledUntil) throw problem;
      } else {
        failures += 1;
        if (failures === attempts || problem.retryAfter > MAX_WAIT) throw problem;
        delay = problem.delay(failures, 500, MAX_WAIT);
      }
      onRepeat?.(problem, delay);
      await new Promise((resolve) => setTimeout(resolve, delay));
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
    throw new Problem(0, "The service does not respond.");
  }
  if (!authorization.Authorization) learnFrom(response);
  const data = parseBody(text);
  if (response.ok) return { status: response.status, data };
  throw new Problem(response.status, explain(response.status, data), {
    code: data?.code,
    errors: data?.errors,
    retryAfter: retryAfter(response.headers),
  });
}

/** Messages for codes whose `detail` addresses a programmer. */
const EXPLANATIONS = {
  conversation_busy: "This conversation receives too many messages at the moment.",
  gone: "An earlier attempt created this, but it has been deleted. Send it again to create it.",
  idempotency_key_reused:
    "This was sent before with other content. Check whether that was stored, then send it again.",
  internal: "The service has failed.",
  invalid: "Correct the marked fields.",
  not_a_member: "Only members can post in this conversation.",
  outcome_unknown: "The service does not know yet whether this was stored.",
  rate_limited: "The acting profile posts faster than the service allows.",
  unavailable: "The service is busy and has stored nothing.",
};

/**
 * Returns the message of a failure, from problem details or from API Gateway's `{"message"}`.
 * A failure of the service includes the request id, for its operator.
 */
function explain(status, data) {
  if (status === 401) {
    const reason = token.get()
      ? "The access token was refused. It may have expired."
      : "This service needs an access token.";
    return `${reason} Enter a valid one under “Access token” at the top of the page.`;
  }
  if (status === 429) {
    return EXPLANATIONS[data?.code] ?? "Too many requests. Try again in a moment.";
  }
  if (status === 403 && !data?.detail) return "The access token does not allow this.";
  if (status < 500) {
    const message = EXPLANATIONS[data?.code] ?? data?.detail ?? data?.message;
    return message ?? `Unexpected status ${status}.`;
  }
  const message = EXPLANATIONS[data?.code] ?? data?.detail ?? "The service is not available.";
  return data?.request_id ? `${message} Request id: ${data.request_id}.` : message;
}

/** Returns `Retry-After`, seconds or a date, in milliseconds. */
function retryAfter(headers) {
  const value = headers.get("Retry-After") ?? "";
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Math.max(0, wait || 0);
}

function parseBody(text) {
  try {
    return parseJson(text);
  } catch {
    return undefined; // Empty, or not JSON, such as the error page of a proxy.
  }
}

/**
 * Parses JSON and keeps numbers as written if JavaScript would change them (1.10, 1e400, twenty
 * digits). Otherwise editing a message would change numbers in its metadata. Browsers without
 * `JSON.rawJSON` change them.
 */
export function parseJson(text) {
  const keepNumber = (key, value, context) => {
    const source = context?.source; // Absent in old browsers.
    const isChanged = typeof value === "number" && source !== undefined && String(value) !== source;
    return isChanged && JSON.rawJSON ? JSON.rawJSON(source) : value;
  };
  return JSON.parse(text, keepNumber);
}

// Idempotency keys. A path keeps its key while the body stays the same, until the service has
// accepted the request. So a user can try again at any time without posting twice.

const pending = new Map();

function idempotencyKey(path, body) {
  if (pending.get(path)?.body !== body) pending.set(path, { body, key: uuid() });
  return pending.get(path).key;
}

function forgetKey({ method, path }) {
  if (method === "POST") pending.delete(path);
}

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // `randomUUID` is missing on plain HTTP, except on localhost.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
