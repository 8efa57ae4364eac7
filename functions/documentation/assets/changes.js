// Follows the changes of the open conversation: new messages, edits, deletions and renames.

import { Poller } from "./poller.js";

/** A follower of one conversation, from the cursor of the response that has loaded it. */
export class Follower extends Poller {
  #cursor;

  /**
   * - `path`: the path of the conversation
   * - `call`, `signal`: send requests, and end them
   * - `hasNews(results)`: whether a poll is worth showing
   * - `take({conversation, results})`: takes what is new
   * - `restart()`: loads the conversation again and returns its cursor
   */
  constructor(cursor, { path, call, signal, hasNews, take, restart }) {
    super(() => this.#takeChanges(), { signal });
    this.#cursor = cursor;
    Object.assign(this, { path, call, hasNews, take, restart });
  }

  /** Takes everything that is new since the cursor. Returns whether that is anything. */
  async #takeChanges() {
    const { signal } = this;
    const showIf = ({ results }) => this.hasNews(results);
    let isNews = false;
    try {
      for (let next = `${this.path}/changes?after=${this.#cursor}`; next; ) {
        const page = await this.call("GET", next, { signal, attempts: 1, showIf });
        this.take(page);
        this.#cursor = page.cursor;
        next = page.next;
        isNews ||= page.results.length > 0;
      }
    } catch (error) {
      if (error.code !== "cursor_unknown") throw error;
      this.#cursor = await this.restart();
    }
    return isNews;
  }
}
