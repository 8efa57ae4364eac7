// Lists of the API: pages, rows, and their order.

import { $, asProblem, clone, notice, showRetries } from "./ui.js";

/**
 * A list of the API in a view. Loads pages by `next`.
 *
 * - `call`: sends the requests
 * - `template`, `fillRow(row, item)`: create and fill the rows
 * - `empty`: the sentence that stands for an empty list
 * - `keyOf(item)`: the key of an item; its id by default
 * - `route`: a row links to `#{route}/{key}`; without it, rows are no links
 * - `merge(item, known)`: the newer state of an item; by default the one that arrived last
 * - `compare(item, other)`: the order of the rows; by default that of the pages
 * - `onChange()`: called after each change
 */
export class PagedList {
  items = new Map();
  path = null;
  #next = null;
  #loading = null;

  constructor(view, options) {
    const defaults = { keyOf: ({ id }) => id, merge: (item) => item, onChange: () => {} };
    Object.assign(this, { view, ...defaults, ...options });
    this.list = $(".list", view);
    this.more = $('[data-action="more"]', view);
    this.more.addEventListener("click", () => this.loadMore());
  }

  /** Empties the list, and loads this one. With null, the list stays empty. */
  open(path) {
    this.path = path;
    this.#loading?.abort();
    this.#loading = this.#next = null;
    this.more.hidden = true;
    this.items.clear();
    this.list.replaceChildren();
    if (path) return this.refresh();
    this.#show();
  }

  /** Loads the first page again. */
  async refresh() {
    if (this.path) await this.#load(this.path);
  }

  get hasMore() {
    return this.#next !== null;
  }

  loadMore() {
    return this.#load(this.#next);
  }

  /**
   * Loads the first page without showing it as a request. Returns whether it has changed the list.
   * Throws if the list cannot be loaded.
   */
  async poll(signal) {
    const { path } = this;
    const page = await this.call("GET", path, { signal, attempts: 1, showIf: () => false });
    if (path !== this.path) return false;
    const before = JSON.stringify([...this.items]);
    this.#takeFirst(page);
    return JSON.stringify([...this.items]) !== before;
  }

  /** Adds an item at the top. */
  add(item) {
    const key = this.keyOf(item);
    this.items = new Map([[key, item], ...this.items]).set(key, item);
    this.#show();
  }

  /** Replaces an item with its newer state, if the list contains it. */
  update(item) {
    const key = this.keyOf(item);
    if (!this.items.has(key)) return;
    this.items.set(key, this.merge(item, this.items.get(key)));
    this.#show();
  }

  remove(key) {
    if (this.items.delete(key)) this.#show();
  }

  /** Marks the row of the item that the main view shows. */
  mark(key) {
    this.marked = key;
    for (const row of this.list.children) {
      $("a", row).ariaCurrent = row.dataset.key === key ? "page" : null;
    }
  }

  async #load(path) {
    if (this.#loading) return;
    const loading = (this.#loading = new AbortController());
    try {
      const { signal } = loading;
      const page = await this.call("GET", path, { signal, ...showRetries(this.view) });
      if (path === this.path) this.#takeFirst(page);
      else this.#takeNext(page);
    } catch (error) {
      if (loading.signal.aborted) return;
      notice(this.view, asProblem(error).message, () => this.#load(path));
    } finally {
      if (this.#loading === loading) this.#loading = null;
    }
  }

  /** Takes the first page. Sorted lists keep what follows it; others start again. */
  #takeFirst({ results, next }) {
    const known = this.items;
    this.items = new Map();
    for (const item of results) this.#put(item, known);
    const last = results.at(-1);
    const rest = [...known].filter(([, item]) => next && this.compare?.(last, item) < 0);
    for (const [key, item] of rest) this.items.set(key, this.items.get(key) ?? item);
    if (rest.length === 0) this.#next = next;
    this.#show();
  }

  #takeNext({ results, next }) {
    for (const item of results) this.#put(item, this.items);
    this.#next = next;
    this.#show();
  }

  #put(item, known) {
    const key = this.keyOf(item);
    this.items.set(key, known.has(key) ? this.merge(item, known.get(key)) : item);
  }

  /** Shows the items. Keeps the rows of known ones, and the focus. */
  #show() {
    if (this.compare) {
      const entries = [...this.items].sort(([, item], [, other]) => this.compare(item, other));
      this.items = new Map(entries);
    }
    const known = new Map(Array.from(this.list.children, (row) => [row.dataset.key, row]));
    const rows = [...this.items].map(([key, item]) => {
      const row = known.get(key) ?? this.#createRow(key);
      this.fillRow(row, item);
      return row;
    });
    const { children } = this.list;
    const isSame = rows.length === known.size && rows.every((row, i) => row === children[i]);
    const focused = document.activeElement;
    if (!isSame) this.list.replaceChildren(...rows);
    if (this.list.contains(focused)) focused.focus({ preventScroll: true });
    this.more.hidden = !this.#next;
    notice(this.view, this.items.size === 0 ? this.empty : "");
    this.onChange();
  }

  #createRow(key) {
    const row = clone(this.template);
    row.dataset.key = key;
    if (!this.route) return row;
    $("a", row).href = `#${this.route}/${key}`;
    $("a", row).ariaCurrent = key === this.marked ? "page" : null;
    return row;
  }
}
