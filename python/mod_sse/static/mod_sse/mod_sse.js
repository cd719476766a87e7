/* SPDX-License-Identifier: Apache-2.0 */
/* The browser's side of mod_sse: one EventSource for all tabs of a browser.
 *
 * Every tab makes an `SSEStream`; a Web Lock decides which of them holds the connection, a BroadcastChannel carries the events to the
 * others. When that tab closes, the next one takes over from the last id, so nothing is lost or doubled. Where the browser offers no
 * locks (plain http on another host than localhost), each tab has a connection of its own.
 *
 *   const stream = new SSEStream("/events/");
 *   stream.on("invoice:paid", (data, event) => { … });      // event: {id, event, text}
 *   stream.on("stream-reset", () => location.reload());      // something was missed for good
 *   stream.onstate = (state, reason) => { … };               // "connecting", "open", "waiting", "ended"
 *
 * <script src="…/mod_sse.js" data-url="/events/"> (the template tag sse_stream writes it) makes `window.sse` and sends each event
 * to the document, too: document.addEventListener("sse:invoice:paid", e => e.detail.data). */
(() => {
  "use strict";

  const SERVER_EVENTS = ["stream-open", "stream-reset", "stream-end"];

  class SSEStream {
    constructor(url, { events = [], share = true, user = "", resume = false } = {}) {
      this.url = new URL(url, document.baseURI).href;
      this.handlers = new Map(); // event name → Set of functions
      this.wanted = new Set(events); // names asked for with ?event=
      this.remote = new Set(); // names that other tabs listen to
      this.listened = new Set(); // names that the EventSource is told of
      this.lastId = "";
      this.resume = resume; // begin with what the user has not been sent yet on any device
      this.state = "connecting";
      this.reason = "";
      this.onstate = null;
      this.source = null;
      this.closed = false;

      this.room = `mod_sse ${user} ${this.url}`;
      this.share = share && Boolean(navigator.locks && window.BroadcastChannel) && window.isSecureContext;
      this.peers = null;
      this.gate = null; // gives the lock back, or takes the request for it back
      this.start();
      // A page that is left may be kept for "back", with its connection: its user would seem to be here still.
      window.addEventListener("pagehide", () => this.stop());
      window.addEventListener("pageshow", (e) => e.persisted && !this.closed && this.start());
    }

    /* Calls fn(data, {id, event, text}) for each event of that name; data is the JSON value, or the text if it is none. */
    on(name, fn) {
      if (!this.handlers.has(name)) this.handlers.set(name, new Set());
      this.handlers.get(name).add(fn);
      this.listen(name);
      this.tell({ what: "join", names: [name], wanted: [] });
      return this;
    }

    off(name, fn) {
      this.handlers.get(name)?.delete(fn);
      return this;
    }

    /* For pages that come from django-eventstream: an EventSource's addEventListener, for one channel. */
    channel(name) {
      return {
        addEventListener: (type, fn) =>
          this.on(name, (data, event) => {
            if (data?.type !== type) return;
            fn({ type, data: "text" in data ? data.text : JSON.stringify(data.data), lastEventId: event.id });
          }),
      };
    }

    close() {
      this.closed = true;
      this.stop();
      this.become("ended", "closed");
    }

    // ---- for this file only --------------------------------------------------------------------------------------------

    start() {
      if (!this.share) {
        this.connect();
        return;
      }
      this.peers = new BroadcastChannel(this.room);
      this.peers.onmessage = (e) => this.hear(e.data);
      this.tell({ what: "join", names: this.names(), wanted: [...this.wanted] });
      const gate = new AbortController();
      this.gate = gate;
      navigator.locks
        .request(this.room, { signal: gate.signal }, () => {
          if (gate.signal.aborted) return undefined;
          this.connect();
          this.tell({ what: "lead" });
          return new Promise((done) => gate.signal.addEventListener("abort", done));
        })
        .catch(() => {}); // taken back before it was granted
    }

    stop() {
      this.source?.close();
      this.source = null;
      this.gate?.abort();
      this.peers?.close();
      this.peers = null;
    }

    names() {
      return [...this.handlers.keys()];
    }

    tell(message) {
      this.peers?.postMessage(message);
    }

    hear(message) {
      switch (message.what) {
        case "event":
          this.lastId = message.event.id || this.lastId;
          this.dispatch(message.event);
          break;
        case "state":
          this.become(message.state, message.reason);
          break;
        case "lead": // the connection moved to another tab: it has to know our names
          this.tell({ what: "join", names: this.names(), wanted: [...this.wanted] });
          break;
        case "join":
          if (!this.source) break;
          message.names.forEach((name) => {
            this.remote.add(name);
            this.listen(name);
          });
          if (message.wanted.some((name) => !this.wanted.has(name))) {
            message.wanted.forEach((name) => this.wanted.add(name));
            this.connect();
          }
          this.tell({ what: "state", state: this.state, reason: this.reason });
          break;
      }
    }

    address() {
      const url = new URL(this.url);
      this.wanted.forEach((name) => url.searchParams.append("event", name));
      if (this.lastId) url.searchParams.set("lastEventId", this.lastId);
      else if (this.resume) url.searchParams.set("resume", "user");
      return url.href;
    }

    connect() {
      this.source?.close();
      this.listened.clear();
      const source = new EventSource(this.address(), { withCredentials: true });
      this.source = source;
      this.announce("connecting", "");
      source.onopen = () => this.announce("open", "");
      source.onerror = () => {
        if (this.source !== source) return;
        if (source.readyState !== EventSource.CLOSED) this.announce("waiting", this.reason);
        else this.announce("ended", this.reason || "refused"); // 204 after an end mark, or 403: EventSource stays away
      };
      ["message", ...SERVER_EVENTS, ...this.handlers.keys(), ...this.remote].forEach((name) => this.listen(name));
    }

    listen(name) {
      if (!this.source || this.listened.has(name)) return;
      this.listened.add(name);
      this.source.addEventListener(name, (e) => {
        // Chromium calls a closed source's last events, too.
        if (e.currentTarget !== this.source || e.data === undefined) return;
        this.lastId = e.lastEventId || this.lastId;
        const event = { id: e.lastEventId, event: name, text: e.data };
        this.tell({ what: "event", event });
        this.dispatch(event);
      });
    }

    dispatch(event) {
      let data = event.text;
      try {
        data = JSON.parse(event.text);
      } catch {
        // raw text
      }
      if (event.event === "stream-open") {
        this.reason = "";
      } else if (event.event === "stream-end") {
        this.reason = data.reason;
      }
      for (const fn of this.handlers.get(event.event) ?? []) {
        try {
          fn(data, event);
        } catch (err) {
          reportError(err);
        }
      }
      if (this.toDocument) {
        document.dispatchEvent(new CustomEvent("sse:" + event.event, { detail: { data, ...event } }));
      }
    }

    announce(state, reason) {
      this.tell({ what: "state", state, reason });
      this.become(state, reason);
    }

    become(state, reason) {
      if (state === this.state && reason === this.reason) return;
      this.state = state;
      this.reason = reason;
      this.onstate?.(state, reason);
      if (this.toDocument) document.dispatchEvent(new CustomEvent("sse-state", { detail: { state, reason } }));
    }
  }

  window.SSEStream = SSEStream;

  const script = document.currentScript;
  if (script?.dataset.url) {
    const { url, events = "", user = "", share = "on", resume } = script.dataset;
    window.sse = new SSEStream(url, { events: events.split(" ").filter(Boolean), user, share: share !== "off", resume: resume === "user" });
    window.sse.toDocument = true;
    (script.dataset.listen || "").split(" ").filter(Boolean).forEach((name) => window.sse.on(name, () => {}));
  }
})();
