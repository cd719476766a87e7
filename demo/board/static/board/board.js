/* SPDX-License-Identifier: Apache-2.0 */
/* The demo's pages: what arrives on the stream (window.sse, opened by the template tag) becomes visible here. */
(() => {
  "use strict";

  const $ = (id) => document.getElementById(id);
  const given = (id) => JSON.parse($(id)?.textContent ?? "null");
  const me = document.body.dataset.user;
  const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  async function post(url, fields) {
    const answer = await fetch(url, { method: "POST", body: new URLSearchParams(fields), headers: { "X-CSRFToken": document.body.dataset.csrf } });
    const data = await answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}` }));
    if (!answer.ok) throw new Error(data.error);
    return data;
  }

  function toast(text) {
    const made = element("div", { class: "toast" }, text);
    $("toasts").append(made);
    setTimeout(() => made.remove(), 6000);
  }

  const report = (err) => toast(err.message);

  // ---- connection ------------------------------------------------------------------------------------------------------

  const WORDS = { connecting: "connecting", open: "live", waiting: "reconnecting", ended: "ended" };
  function showState() {
    const { state, reason } = window.sse;
    $("state").dataset.state = state;
    $("state").textContent = WORDS[state] + (state === "ended" && reason ? `: ${reason}` : "");
  }
  window.sse.onstate = showState;
  showState();
  window.sse.on("stream-reset", () => location.reload());

  // ---- people ----------------------------------------------------------------------------------------------------------

  const people = new Map(given("people-data").map((one) => [one.id, one]));

  function showPeople() {
    $("people")?.replaceChildren(
      ...[...people.values()].map((one) =>
        element(
          "li",
          { "data-online": one.online, "data-name": one.name },
          element("span", { class: "avatar", "aria-hidden": "true" }, one.name[0].toUpperCase()),
          element(
            "span",
            { class: "who" },
            one.name + (one.id === me ? " (you)" : ""),
            element("small", {}, [one.online ? "online" : "offline", ...one.groups].join(" · "))
          ),
          one.id === me ? "" : element("button", { type: "button", onclick: () => wave(one) }, "Notify")
        )
      )
    );
  }

  const wave = (one) =>
    post("/api/notify", { user: one.id, text: "waves at you" })
      .then(() => toast(`${one.name} has been notified.`))
      .catch(report);

  window.sse.on("people:online", ({ id, online }) => {
    if (!people.has(id)) return;
    people.get(id).online = online;
    showPeople();
  });
  // We are online now; the page was rendered just before.
  window.sse.on("stream-open", () => {
    if (people.has(me)) people.get(me).online = true;
    showPeople();
  });
  showPeople();

  // ---- notifications ---------------------------------------------------------------------------------------------------

  let notes = given("notes-data");

  function showNotes() {
    $("notes").replaceChildren(
      ...notes.map((note) => element("li", {}, element("strong", {}, note.from), " ", note.text, element("small", {}, clock(note.at))))
    );
    $("no-notes").hidden = notes.length > 0;
    $("count").hidden = notes.length === 0;
    $("count").textContent = notes.length;
  }

  window.sse.on("notification:new", (note) => {
    if (notes.some((known) => known.id === note.id)) return; // the page was rendered after it
    notes.unshift(note);
    showNotes();
    toast(`${note.from} ${note.text}`);
  });
  window.sse.on("notification:read", () => {
    if ($("bell").open) return; // being read right here
    notes = [];
    showNotes();
  });
  $("bell").addEventListener("toggle", () => {
    if ($("bell").open && notes.length) {
      $("count").hidden = true;
      post("/api/notifications/read", {}).catch(report);
    } else if (!$("bell").open) {
      notes = [];
      showNotes();
    }
  });
  showNotes();

  // ---- events ----------------------------------------------------------------------------------------------------------

  const publish = $("publish");
  if (publish) {
    const heard = new Set();

    // EventSource calls only for names it is told of: those subscribed to, those offered, and those that the publish view announces.
    function hear(name) {
      if (heard.has(name)) return;
      heard.add(name);
      window.sse.on(name, showEvent);
    }

    function showEvent(data, event) {
      const { text, from, to } = data !== null && typeof data === "object" ? data : { text: event.text };
      const via = { user: "to you", group: "to your group", everyone: "to everyone" }[to] ?? "by subscription";
      $("feed-empty").hidden = true;
      $("feed").prepend(
        element(
          "li",
          {},
          element("span", { class: "tag", "data-to": to ?? "event" }, event.event),
          element("span", { class: "text" }, text ?? event.text),
          element("time", {}, clock(Date.now())),
          element("span", { class: "more" }, `${from ? `from ${from}, ` : ""}${via}, id ${event.id}`)
        )
      );
      while ($("feed").children.length > 100) $("feed").lastElementChild.remove();
    }

    function showMine(events) {
      events.forEach(hear);
      $("mine").replaceChildren(
        ...events.map((name) =>
          element(
            "li",
            { class: "tag" },
            name,
            element("button", { type: "button", "aria-label": `Unsubscribe from ${name}`, onclick: () => subscribe(name, "remove") }, "×")
          )
        )
      );
    }

    const subscribe = (events, action) =>
      post("/api/subscriptions", { events, action })
        .then((answer) => showMine(answer.events))
        .catch(report);

    function showCode() {
      const { to, event, user, group, text } = Object.fromEntries(new FormData(publish));
      const quote = (s) => JSON.stringify(s);
      const data = `{"text": ${quote(text)}}`;
      const name = people.get(user)?.name;
      $("code").textContent = {
        event: `Events.publish(${quote(event)}, ${data})`,
        user: `Events.publish(${quote(event)}, ${data}, users=[${name}])`,
        group: `Events.publish(${quote(event)}, ${data}, groups=[${quote(group ?? "")}])`,
        everyone: `Events.broadcast(${quote(event)}, ${data})`,
      }[to];
      publish.querySelectorAll("[data-for]").forEach((field) => (field.hidden = field.dataset.for !== to));
    }

    publish.addEventListener("input", showCode);
    publish.addEventListener("submit", (e) => {
      e.preventDefault();
      $("published").textContent = "";
      post(publish.action, new FormData(publish))
        .then(({ id }) => ($("published").textContent = `Accepted as ${id}`))
        .catch(report);
    });
    $("subscribe").addEventListener("submit", (e) => {
      e.preventDefault();
      subscribe(new FormData(e.target).get("events"), "add").then(() => e.target.reset());
    });
    $("clear").addEventListener("click", () => {
      $("feed").replaceChildren();
      $("feed-empty").hidden = false;
    });
    window.sse.on("board:name", ({ name }) => hear(name));
    ["news:today", "weather:now", "editors:desk"].forEach(hear);
    showMine(given("mine-data"));
    showCode();
  }

  // ---- chat ------------------------------------------------------------------------------------------------------------

  const lines = $("lines");
  if (lines) {
    const seen = new Set();
    const mine = people.get(me)?.name;

    function addLine(line) {
      if (seen.has(line.id)) return; // rendered with the page, or replayed
      seen.add(line.id);
      lines.append(
        element("li", line.author === mine ? { class: "mine" } : {}, element("small", {}, `${line.author}, ${clock(line.at)}`), line.text)
      );
      lines.scrollTop = lines.scrollHeight;
    }

    given("lines-data").forEach(addLine);
    window.sse.on("chat:lobby", addLine);
    $("say").addEventListener("submit", (e) => {
      e.preventDefault();
      post(e.target.action, new FormData(e.target)).catch(report);
      e.target.reset();
    });
  }
})();
