// Follows the open conversation: new messages, edits, deletions and renames. They arrive through
// the connection of the page. While it is down, the page polls.

import { parseJson, send } from "./api.js";
import { Live } from "./live.js";
import { Poller } from "./poller.js";

/** The connection of the page. */
export const live = new Live({
  createTicket: async () => {
    const request = { method: "POST", path: "/tickets", headers: {} };
    return (await send(request, { attempts: 1 })).data;
  },
  isHidden: () => document.hidden,
  parse: parseJson,
});

addEventListener("offline", () => live.offline());
addEventListener("online", () => live.wake());
document.addEventListener("visibilitychange", () => document.hidden || live.wake());

/** What a follower does. */
export const LIVE = "live";
export const POLLING = "polling";
export const FAILING = "failing";

/** A follower of one conversation, from the cursor of the response that has loaded it. */
export class Follower {
  #topic;
  #poller;
  #isFailing = false;

  /**
   * - `path`: the path of the conversation
   * - `call`, `signal`: send requests, and end them
   * - `hasNews(results)`: whether a response is worth showing
   * - `take({conversation, results})`: takes what is new
   * - `restart()`: loads the conversation again and returns its cursor
   * - `onState(state)`: called with what it does now
   */
  constructor({ id, cursor }, { path, call, signal, hasNews, take, restart, onState }) {
    this.onState = onState;
    const showIf = ({ results }) => hasNews(results);
    this.#topic = live.follow(id, {
      cursor,
      list: (after) =>
        call("GET", `${path}/changes?after=${after}`, { signal, attempts: 1, showIf }),
      take: (page) => signal.aborted || take(page),
      restart,
      onState: (isLive) => this.#noteState(isLive),
      onEnded: () => this.pollNow(), // Finds out why.
    });
    const isPaused = () => this.#topic.isLive;
    this.#poller = new Poller(() => this.#topic.catchUp(), { signal, isPaused });
    signal.addEventListener("abort", () => this.#topic.close());
  }

  /** Asks for what is new as soon as possible. */
  pollNow() {
    this.#poller.pollNow();
  }

  /** Follows until `signal` is aborted or the conversation cannot be read, which throws. */
  async run() {
    try {
      await this.#poller.run((isReached) => {
        this.#isFailing = !isReached;
        this.#report();
      });
    } finally {
      this.#topic.close();
    }
  }

  #noteState(isLive) {
    this.#isFailing = false;
    if (!isLive) this.#poller.resume();
    this.#report();
  }

  #report() {
    const fallback = this.#isFailing ? FAILING : POLLING;
    this.onState(this.#topic.isLive ? LIVE : fallback);
  }
}
