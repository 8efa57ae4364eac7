// Follows the changes of the open conversation: new messages, edits, deletions and renames.

import { asProblem } from "./ui.js";

// Each poll costs the service's owner, so the page polls less often the longer nothing happens.

const INTERVAL = 2000;
const MAX_INTERVAL = 30_000;
const MAX_BACKOFF = 15_000;

let activeAt = Date.now(); // Time of the last input or news.
let wake = () => {}; // Makes the follower that waits check again whether a poll is due.

/**
 * Returns the time from a poll at this time to the next one: a tenth of the time without input and
 * news. So the page starts to slow down after 20 seconds and is slowest after 5 minutes.
 */
function interval(polledAt) {
  if (document.hidden) return MAX_INTERVAL;
  return Math.min(Math.max((polledAt - activeAt) / 10, INTERVAL), MAX_INTERVAL);
}

function noteInput() {
  const isSlow = interval(Date.now()) > INTERVAL;
  activeAt = Date.now();
  if (isSlow) wake();
}

for (const input of ["keydown", "pointerdown", "pointermove", "wheel"]) {
  addEventListener(input, noteInput, { passive: true });
}

document.addEventListener("visibilitychange", () => {
  activeAt = Date.now();
  wake();
});

/** A follower of one conversation, from the cursor of the response that has loaded it. */
export class Follower {
  #cursor;
  #polledAt = Date.now();
  #backoff = 0;
  #isDue = false;

  /**
   * - `path`: the path of the conversation
   * - `call`, `signal`: send requests, and end them
   * - `hasNews(results)`: whether a poll is worth showing
   * - `take({conversation, results})`: takes what is new
   * - `restart()`: loads the conversation again and returns its cursor
   */
  constructor(cursor, { path, call, signal, hasNews, take, restart }) {
    this.#cursor = cursor;
    Object.assign(this, { path, call, signal, hasNews, take, restart });
  }

  /** Polls as soon as possible. */
  pollNow() {
    this.#isDue = true;
    wake();
  }

  /**
   * Polls until `signal` is aborted or a poll fails for good, which throws. Calls `onState` with
   * true after a success and with false after a failure that may pass.
   */
  async run(onState) {
    for (let failures = 0; ; ) {
      await this.#untilDue();
      if (this.signal.aborted) return;
      this.#isDue = false;
      try {
        await this.#poll();
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
      const wait = this.#polledAt + Math.max(interval(this.#polledAt), this.#backoff) - Date.now();
      if (wait <= 0) return;
      await new Promise((resolve) => {
        wake = resolve;
        setTimeout(resolve, wait);
      });
    }
  }

  /** Takes everything that is new since the cursor. */
  async #poll() {
    const { signal } = this;
    const showIf = ({ results }) => this.hasNews(results);
    try {
      for (let next = `${this.path}/changes?after=${this.#cursor}`; next; ) {
        const page = await this.call("GET", next, { signal, attempts: 1, showIf });
        this.take(page);
        this.#cursor = page.cursor;
        next = page.next;
        if (page.results.length > 0) activeAt = Date.now();
      }
    } catch (error) {
      if (error.code !== "cursor_unknown") throw error;
      this.#cursor = await this.restart();
    }
  }
}
