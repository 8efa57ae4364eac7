// Polling: less and less often while nothing happens, because each poll costs the service's owner,
// and not at all while a connection delivers the news.

import { asProblem } from "./ui.js";

const INTERVAL = 2000;
const MAX_INTERVAL = 30_000;
const MAX_BACKOFF = 15_000;

let activeAt = Date.now(); // Time of the last input or news.
const waiting = new Set(); // The pollers that wait.

/**
 * Returns the time from a poll at this time to the next one: a tenth of the time without input and
 * news. So the page starts to slow down after 20 seconds and is slowest after 5 minutes.
 */
function interval(polledAt) {
  if (document.hidden) return MAX_INTERVAL;
  return Math.min(Math.max((polledAt - activeAt) / 10, INTERVAL), MAX_INTERVAL);
}

function wakeAll() {
  for (const poller of waiting) poller.wake();
}

function noteInput() {
  const isSlow = interval(Date.now()) > INTERVAL;
  activeAt = Date.now();
  if (isSlow) wakeAll();
}

for (const input of ["keydown", "pointerdown", "pointermove", "wheel"]) {
  addEventListener(input, noteInput, { passive: true });
}

document.addEventListener("visibilitychange", () => {
  activeAt = Date.now();
  wakeAll();
});

addEventListener("online", () => {
  for (const poller of waiting) if (!poller.isPaused()) poller.pollNow();
});

/** Repeats `poll()`, which returns whether there was news, until `signal` is aborted. */
export class Poller {
  #polledAt = Date.now();
  #backoff = 0;
  #isDue = false;
  wake = () => {}; // Checks again whether a poll is due.

  /**
   * - `factor`: multiplies the time between two polls, for polls that cost more
   * - `isPaused()`: whether news arrives without polls. Then only failed polls are repeated, and
   *   `maxPause` is the time between two polls.
   */
  constructor(poll, { signal, factor = 1, isPaused = () => false, maxPause = Infinity }) {
    Object.assign(this, { poll, signal, factor, isPaused, maxPause });
    signal.addEventListener("abort", () => this.wake());
  }

  /** Polls as soon as possible. */
  pollNow() {
    this.#isDue = true;
    this.wake();
  }

  /** Polls again after a pause: first within the usual time, not together with all others. */
  resume() {
    activeAt = Date.now();
    this.#polledAt = Date.now() - Math.random() * INTERVAL;
    this.wake();
  }

  /**
   * Polls until `signal` is aborted or a poll fails for good, which throws. Calls `onState` with
   * true after a success and with false after a failure that may pass.
   */
  async run(onState = () => {}) {
    for (let failures = 0; ; ) {
      await this.#untilDue();
      if (this.signal.aborted) return;
      this.#isDue = false;
      try {
        if (await this.poll()) activeAt = Date.now();
        failures = this.#backoff = 0;
        onState(true);
      } catch (error) {
        if (this.signal.aborted) return;
        const problem = asProblem(error);
        if (!problem.isTransient) throw problem;
        failures += 1;
        this.#backoff = problem.delay(failures, INTERVAL, MAX_BACKOFF);
        onState(false);
      }
      this.#polledAt = Date.now();
    }
  }

  async #untilDue() {
    while (!this.signal.aborted && !this.#isDue) {
      const wait = this.#polledAt + this.#pause() - Date.now();
      if (wait <= 0) return;
      waiting.add(this);
      await new Promise((resolve) => {
        this.wake = resolve;
        if (wait < Infinity) setTimeout(resolve, wait);
      });
      waiting.delete(this);
    }
  }

  #pause() {
    if (this.isPaused() && this.#backoff === 0) return this.maxPause;
    return Math.max(interval(this.#polledAt) * this.factor, this.#backoff);
  }
}
