// Live delivery: one WebSocket that follows conversations and watches the inbox of a profile.
// Frames may be lost, repeated, late, and in any order. Cursors show gaps, and `GET …/changes`
// fills them. The protocol: "Live delivery" in docs/RELIABILITY.md. Imports no other file.

const TICKET_LIFETIME = 60_000;
const ANSWER_TIMEOUT = 10_000;
const HEARTBEAT = 60_000;
const HIDDEN_HEARTBEAT = 5 * 60_000; // API Gateway closes a connection that is idle for 10 minutes.
const SPREAD = 20_000;
const MAX_SPREAD = 300_000;
const MAX_WATCHED = 50;
const FAREWELL = 10_000; // Frames may overtake each other: who comes back soon stays subscribed.
const TICK = 1000;

/**
 * Returns the milliseconds to wait for the next ticket after this many failures in a row: a random
 * time of up to 20 seconds after the first one; later between half and all of a time that doubles,
 * up to 5 minutes. So 1,000 clients that are dropped together ask for about 50 tickets a second.
 */
export function reconnectDelay(failures, random = Math.random) {
  const longest = Math.min(SPREAD * 2 ** (failures - 1), MAX_SPREAD);
  return failures === 1 ? longest * random() : (longest * (1 + random())) / 2;
}

/** Returns the milliseconds after which a connection that lasts this long is replaced. */
export function renewalDelay(lifetime, random = Math.random) {
  return lifetime * (0.7 + 0.25 * random());
}

/**
 * Returns how a frame relates to the cursor of a client: `"old"` if it has nothing new, `"next"` if
 * it continues the cursor, `"gap"` if changes between them are missing.
 */
export function fitOf(frame, cursor) {
  if (isWithin(frame.cursor, cursor)) return "old";
  const continues = isWithin(frame.after, cursor) && isWithin(cursor, frame.cursor);
  return continues && frame.results ? "next" : "gap";
}

/** Returns whether no part of a cursor (`seq.change`) is greater than that of another one. */
function isWithin(cursor, other) {
  const limits = other.split(".").map(Number);
  return cursor.split(".").every((part, i) => Number(part) <= limits[i]);
}

/** A subscription of a client. It outlives the connections that carry it. */
class Topic {
  isDue = true; // Whether it must be requested now.
  askedAt = 0; // When it was last requested.
  isWaiting = false; // Whether the last request waits for its answer.
  refusedUntil = 0; // Not to be requested before, because the service has refused it.
  #isSubscribed = false;
  #refusals = 0;

  constructor(live, options) {
    this.live = live;
    Object.assign(this, { onState: () => {}, ...options });
  }

  /** Whether everything new arrives through the connection. Otherwise the caller must poll. */
  get isLive() {
    return this.#isSubscribed;
  }

  /** Notes that the request was answered. */
  answered() {
    this.isWaiting = false;
    this.#refusals = 0;
    this.change(() => (this.#isSubscribed = true));
  }

  /** Notes that the connection was lost or is replaced. */
  disconnected() {
    this.isDue = true;
    this.isWaiting = false;
    this.change(() => (this.#isSubscribed = false));
  }

  /** Notes that the service has refused or ended the subscription. */
  refused(code) {
    this.#refusals += 1;
    const backoff = reconnectDelay(this.#refusals, this.live.random);
    const wait = code === "full" ? MAX_SPREAD : backoff;
    this.refusedUntil = Date.now() + wait;
    this.disconnected();
  }

  close() {
    this.live.remove(this);
  }

  /** Runs `action`, and calls `onState` if it has changed `isLive`. */
  change(action) {
    const before = this.isLive;
    action();
    if (this.isLive !== before) this.onState(this.isLive);
  }
}

/**
 * A conversation that is followed from a cursor.
 *
 * - `cursor`: that of the response that has loaded the conversation
 * - `list(cursor)`: sends `GET …/changes?after={cursor}`, returns the response
 * - `take({conversation, results})`: takes what is new; keeps the higher `version` and `change`
 * - `restart()`: loads the conversation again, returns its cursor
 * - `onState(isLive)`: called when it changes
 * - `onEnded()`: the conversation was deleted, or may no longer be seen
 */
class Follow extends Topic {
  #catchingUp = null;
  #waiting = []; // Frames that arrive while it catches up.
  #isBehind = false;
  #hasEnded = false;

  get isLive() {
    return super.isLive && !this.#isBehind && !this.#hasEnded;
  }

  get request() {
    if (this.#hasEnded) return null;
    return { action: "subscribe", conversation_id: this.id, after: this.cursor };
  }

  get farewell() {
    return { action: "unsubscribe", conversation_id: this.id };
  }

  receive(frame) {
    if (frame.conversation_id !== this.id || this.#hasEnded) return;
    if (frame.type === "changes") {
      this.#takeFrame(frame);
      if (frame.after === this.askedAfter) this.answered();
    } else if (frame.type === "ended") {
      this.change(() => (this.#hasEnded = true));
      this.onEnded();
    } else if (frame.type === "error") {
      this.refused(frame.code);
    }
  }

  /** Takes everything that is new since the cursor, by HTTP. Returns whether that is anything. */
  catchUp() {
    this.#catchingUp ??= this.#readChanges().finally(() => (this.#catchingUp = null));
    return this.#catchingUp;
  }

  async #readChanges() {
    let isNews = false;
    try {
      for (let hasMore = true; hasMore; ) {
        const { conversation, results, cursor, next } = await this.list(this.cursor);
        this.take({ conversation, results });
        this.cursor = cursor;
        isNews ||= results.length > 0;
        hasMore = Boolean(next);
      }
    } catch (error) {
      if (error.code !== "cursor_unknown") {
        this.#waiting = [];
        this.change(() => (this.#isBehind = true));
        throw error;
      }
      this.cursor = await this.restart();
    }
    this.change(() => (this.#isBehind = false));
    const frames = this.#waiting;
    this.#waiting = [];
    queueMicrotask(() => frames.forEach((frame) => this.#takeFrame(frame)));
    return isNews;
  }

  #takeFrame(frame) {
    if (this.#catchingUp) return this.#waiting.push(frame);
    const fit = fitOf(frame, this.cursor);
    const { conversation, results, cursor } = frame;
    this.take({ conversation, results: fit === "next" ? results : [] });
    if (fit === "next") this.cursor = cursor;
    // If it fails, the caller polls, and meets the failure itself.
    if (fit === "gap") this.catchUp().catch(() => {});
  }
}

/**
 * The conversations of a profile that are watched.
 *
 * - `ids()`: the ids of the conversations, most important first
 * - `onActivity({conversation_id, last_seq})`: a conversation has new messages
 * - `onMembership()`: the profile was added to a conversation, or removed
 * - `onEnded(conversationId)`: a conversation was deleted, or may no longer be seen
 * - `onState(isLive)`: called when it changes; what happened before must be read by HTTP
 */
class Watch extends Topic {
  key = "watch";
  farewell = null; // The next watch replaces it.

  get request() {
    const conversation_ids = this.ids().slice(0, MAX_WATCHED);
    return { action: "watch", profile_id: this.profileId, conversation_ids };
  }

  receive(frame) {
    if (frame.type === "activity") this.onActivity(frame);
    if (frame.type === "ended") this.onEnded(frame.conversation_id);
    if (frame.type === "error" && !frame.conversation_id) this.refused(frame.code);
    if (frame.profile_id !== this.profileId) return;
    if (frame.type === "membership") this.onMembership();
    if (frame.type === "watching") this.answered();
  }

  /** Takes that the ids have changed. */
  update() {
    this.isDue = true;
    this.live.ask();
  }
}

/**
 * The connection of a client.
 *
 * - `createTicket()`: sends `POST /tickets`, returns the response
 * - `isHidden()`: whether nobody sees what arrives
 * - `parse(text)`: parses JSON
 * - `random()`: returns a number from 0 to 1
 */
export class Live {
  #topics = new Map();
  #socket = null;
  #old = null; // The socket that the present one replaces, until its subscriptions are answered.
  #opening = null; // The attempt to open a connection that has not ended; it may be abandoned.
  #failures = 0;
  #endsAt = 0; // When the connection ends, by the clock of the service.
  #timer = null; // The next attempt to open a connection.
  #ticker = null;

  constructor(options) {
    const random = () => Math.random();
    Object.assign(this, { isHidden: () => false, parse: JSON.parse, random, ...options });
  }

  /** Follows a conversation, see `Follow`. */
  follow(id, options) {
    return this.#add(new Follow(this, { key: id, id, ...options }));
  }

  /** Watches the inbox of a profile, see `Watch`. There is one watch at a time. */
  watch(profileId, options) {
    return this.#add(new Watch(this, { profileId, ...options }));
  }

  #add(topic) {
    this.#topics.set(topic.key, topic);
    this.#ticker ??= setInterval(() => this.ask(), TICK);
    if (this.#socket) this.ask();
    else if (!this.#timer && !this.#opening) this.#open();
    return topic;
  }

  remove(topic) {
    if (this.#topics.get(topic.key) !== topic) return;
    this.#topics.delete(topic.key);
    if (!topic.farewell) return;
    setTimeout(() => this.#topics.has(topic.key) || this.#send(topic.farewell), FAREWELL);
  }

  /** Closes the connection, to open another one as another caller. */
  reset() {
    this.#disconnect();
    this.#failures = 0;
    this.#open();
  }

  /** Takes that the machine is offline: the connection is lost. */
  offline() {
    if (this.#socket) this.#fail();
  }

  /** Takes that the client is back, from sleep or offline: asks what it has missed. */
  wake() {
    for (const topic of this.#topics.values()) topic.isDue = true;
    if (this.#socket) return this.ask();
    if (this.#timer) this.#openIn(reconnectDelay(1, this.random), this.#timer.at);
  }

  /** Sends the subscriptions that are new or due. Finds out whether the connection is dead. */
  ask() {
    if (!this.#socket) return;
    const now = Date.now();
    const topics = [...this.#topics.values()];
    if (topics.some((topic) => topic.isWaiting && now - topic.askedAt > ANSWER_TIMEOUT)) {
      return this.#fail();
    }
    const heartbeat = this.isHidden() ? HIDDEN_HEARTBEAT : HEARTBEAT;
    for (const topic of topics) {
      const isDue = topic.isDue || now - topic.askedAt >= heartbeat;
      const { request } = topic;
      if (!isDue || topic.isWaiting || topic.refusedUntil > now || !request) continue;
      topic.isDue = false;
      topic.askedAt = now;
      topic.askedAfter = request.after;
      topic.isWaiting = true;
      this.#send(request);
    }
  }

  async #open() {
    if (this.#topics.size === 0) return this.#disconnect();
    const attempt = (this.#opening = {});
    const isAbandoned = () => attempt !== this.#opening;
    this.#timer = null;
    try {
      const ticket = await this.createTicket();
      if (isAbandoned()) return;
      const endsAt = Date.parse(ticket.connection_expires_at);
      const lifetime = endsAt - Date.parse(ticket.expires_at) + TICKET_LIFETIME;
      // With the same token, the next connection would end no later than this one.
      if (this.#socket && endsAt - this.#endsAt < TICKET_LIFETIME) return;
      const socket = await connect(ticket.url);
      if (isAbandoned()) return socket.close();
      this.#take(socket, endsAt, lifetime);
    } catch {
      if (!isAbandoned()) this.#fail(this.#socket);
    } finally {
      if (!isAbandoned()) this.#opening = null;
    }
  }

  /** Moves the subscriptions to a new connection. */
  #take(socket, endsAt, lifetime) {
    this.#old?.close();
    this.#old = this.#socket;
    this.#socket = socket;
    this.#endsAt = endsAt;
    socket.onmessage = ({ data }) => this.#receive(socket, data);
    socket.onclose = () => socket === this.#socket && this.#fail();
    const isNew = { isDue: true, isWaiting: false };
    for (const topic of this.#topics.values()) Object.assign(topic, isNew);
    this.#openIn(renewalDelay(lifetime, this.random));
    this.ask();
  }

  #receive(socket, data) {
    const frame = this.parse(data);
    // Without a type, API Gateway itself has refused a frame.
    if (!frame.type || frame.code === "connection_ended") {
      if (socket === this.#socket) this.#fail();
      return;
    }
    for (const topic of [...this.#topics.values()]) topic.receive(frame);
    if ([...this.#topics.values()].some((topic) => topic.isWaiting)) return;
    this.#failures = 0;
    this.#old?.close();
    this.#old = null;
  }

  /** Closes the connection, unless there is one to keep, and opens the next one later. */
  #fail(kept) {
    if (!kept) this.#disconnect();
    this.#failures += 1;
    this.#openIn(reconnectDelay(this.#failures, this.random));
  }

  #disconnect() {
    clearTimeout(this.#timer?.id);
    this.#timer = this.#opening = null;
    for (const socket of [this.#old, this.#socket]) {
      if (socket) socket.onmessage = socket.onclose = null;
      socket?.close();
    }
    this.#old = this.#socket = null;
    for (const topic of this.#topics.values()) topic.disconnected();
  }

  /** Opens a connection after this time, or at the time that is given, if that is earlier. */
  #openIn(delay, latest = Infinity) {
    clearTimeout(this.#timer?.id);
    const at = Math.min(Date.now() + delay, latest);
    this.#timer = { at, id: setTimeout(() => this.#open(), at - Date.now()) };
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }
}

/** Opens a WebSocket. */
function connect(url) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    const timer = setTimeout(() => socket.close(), ANSWER_TIMEOUT);
    socket.onopen = () => {
      clearTimeout(timer);
      resolve(socket);
    };
    socket.onclose = () => {
      clearTimeout(timer);
      reject(new Error("The WebSocket does not open."));
    };
  });
}
