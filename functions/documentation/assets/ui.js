// Parts of the page: templates, times, shown requests, forms and notices.
// Independent of the API's resources. Text from users is only ever set as text, never as HTML.

import { Problem, curl, prepare, send } from "./api.js";

export const $ = (selector, root = document) => root.querySelector(selector);

/** Returns a copy of the only element in a template. */
export const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

/** Announces an event to users of screen readers. */
export function announce(text) {
  $("#status").textContent = text;
}

export function setTitle(text) {
  document.title = text ? `${text} · Chat` : "Chat";
}

/** Shows or hides the parts of a view that need its resource (`data-content`). */
export function setContentVisible(view, isVisible) {
  for (const part of view.querySelectorAll("[data-content]")) part.hidden = !isVisible;
}

/** Returns a `<bdi>`: text whose writing direction does not affect its surroundings. */
export function bdi(text) {
  const element = document.createElement("bdi");
  element.textContent = text;
  return element;
}

export const pluralize = (count, unit) =>
  `${count.toLocaleString("en")} ${unit}${count === 1 ? "" : "s"}`;

// Times

const minuteFormat = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const thisYear = new Intl.DateTimeFormat("en", { ...minuteFormat, hourCycle: "h23" });
const dateFormat = { day: "numeric", month: "short", year: "numeric" };
const otherYear = new Intl.DateTimeFormat("en", dateFormat);
const full = new Intl.DateTimeFormat("en", { dateStyle: "full", timeStyle: "long" });

/** Returns a `<time>` that shows the age, and in its title the exact time. */
export function time(iso) {
  const element = document.createElement("time");
  element.dateTime = iso;
  element.title = full.format(new Date(iso));
  element.textContent = age(new Date(iso));
  return element;
}

function age(date) {
  const now = new Date();
  const minutes = Math.round((now - date) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return relative.format(-minutes, "minute");
  if (minutes < 12 * 60) return relative.format(-Math.round(minutes / 60), "hour");
  return (date.getFullYear() === now.getFullYear() ? thisYear : otherYear).format(date);
}

setInterval(() => {
  for (const element of document.querySelectorAll("time")) {
    element.textContent = age(new Date(element.dateTime));
  }
}, 30_000);

// Shown requests

/**
 * Adds the request to a panel. Returns `call(method, path, options)`, which sends a request, shows
 * it there, and returns the data of the response.
 *
 * With `showIf` the request is shown only if `showIf(data)` holds. Polls use this: without new
 * messages they would only replace the user's own request.
 */
export function requester(panel) {
  const shown = clone("request");
  panel.append(shown);
  const find = (part) => $(part, shown);
  const [line, outcome, command, copy] = [".line", ".outcome", "pre", "button"].map(find);
  copy.addEventListener("click", async () => {
    await copyText(command);
    copy.textContent = "Copied";
    announce("Command copied");
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  });

  return async function call(method, path, { body, version, showIf, ...options } = {}) {
    const request = prepare(method, path, { body, version });
    const started = performance.now();
    const show = (result) => {
      line.textContent = `${method} ${path}`;
      outcome.textContent = `${result} · ${Math.round(performance.now() - started)} ms`;
      command.textContent = curl(request);
    };
    try {
      const { status, data } = await send(request, options);
      if (showIf?.(data) ?? true) show(status);
      return data;
    } catch (error) {
      if (error instanceof Problem && !showIf) show(error.status || "no response");
      throw error;
    }
  };
}

async function copyText(element) {
  const text = element.textContent;
  if (navigator.clipboard) return navigator.clipboard.writeText(text).catch(() => select(element));
  select(element); // The clipboard API is missing on plain HTTP, except on localhost.
  document.execCommand("copy");
}

const select = (element) => getSelection().selectAllChildren(element);

// Forms

/** Returns what the page shows while it waits to repeat a request. */
function waitingText({ isThrottled, message }, delay) {
  if (!isThrottled) return "No response yet. Trying again…";
  return `${message} Sending again in ${Math.ceil(delay / 1000)} s…`;
}

/** Returns the error if it is a `Problem`. Throws other errors, which are bugs, to the console. */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  throw error;
}

/** Runs `action(values, options)` as `runIn` does when the form is submitted. */
export function onSubmit(form, action) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.ariaBusy === "true") return;
    clearProblem(form);
    const missing = [...form.elements].filter((control) => control.validity?.valueMissing);
    if (missing.length > 0) {
      const errors = Object.fromEntries(missing.map(({ name }) => [name, ["is required"]]));
      return showProblem(form, Problem.invalid(errors));
    }
    await runIn(form, (options) => action(Object.fromEntries(new FormData(form)), options));
  });
}

/**
 * Runs `action(options)` for a form, once at a time, and shows a `Problem` in it. `options` are for
 * the request: they show when it is repeated.
 */
export async function runIn(form, action) {
  if (form.ariaBusy === "true") return;
  form.ariaBusy = "true";
  const onRepeat = (problem, delay) => {
    const place = $('[data-error-for="form"]', form);
    place.textContent = waitingText(problem, delay);
    place.dataset.waiting = "";
  };
  try {
    await action({ onRepeat });
    clearProblem(form);
  } catch (error) {
    showProblem(form, asProblem(error));
  } finally {
    form.ariaBusy = null;
  }
}

export function clearProblem(form) {
  for (const place of form.querySelectorAll("[data-error-for]")) {
    place.textContent = "";
    delete place.dataset.waiting;
  }
  for (const control of form.querySelectorAll("[aria-invalid]")) {
    control.removeAttribute("aria-invalid");
  }
}

/** Shows field errors next to their fields, and everything else at the end of the form. */
function showProblem(form, { message, errors, isTransient }) {
  clearProblem(form);
  const general = [];
  for (const [field, reasons] of Object.entries(errors)) {
    const text = toSentence(reasons.join("; "));
    const place = form.querySelector(`[data-error-for="${CSS.escape(field)}"]`);
    if (place) place.textContent = text;
    else general.push(`${field}: ${text}`);
    form.elements[field]?.setAttribute("aria-invalid", "true");
  }
  if (isTransient) general.push("Your input is kept. Sending it again cannot store it twice.");
  $('[data-error-for="form"]', form).textContent = [message, ...general].join(" ").trim();
  const first = $("[aria-invalid]", form);
  first?.closest("details")?.setAttribute("open", "");
  first?.focus();
}

const toSentence = (text) =>
  text.replace(/^./u, (letter) => letter.toUpperCase()).replace(/[^.!?]$/u, "$&.");

// Notices

/** Shows a sentence in place of a panel's content, with a button if `retry` is given. */
export function notice(panel, text, retry) {
  const place = $(".notice", panel);
  place.hidden = !text;
  place.textContent = text;
  if (!retry) return;
  const button = document.createElement("button");
  Object.assign(button, { type: "button", textContent: "Try again" });
  button.addEventListener("click", retry);
  place.append(button);
}

/** Returns options for a request that loads a panel's content: they show when it is repeated. */
export const showRetries = (panel) => ({
  onRepeat: (problem, delay) => notice(panel, waitingText(problem, delay)),
});
