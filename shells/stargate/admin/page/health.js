// Limits, and the gateway's own state: workers, targets, store, cache, journals, logs, credentials, and what
// came of the last reload. And what of all that somebody should look at: the notices above every view.

import { meter } from "./charts.js";
import { byId, el, icon, keyed, setAttribute, setHidden, setText, setVariable } from "./dom.js";
import { ago, clock, count, moment, percent, plural, span } from "./format.js";

const NEAR = 0.8;
const FULL = 1;
const STATE_WORDS = { closed: "closed, in use", open: "open, left alone", half_open: "half open, being tried" };
// A store that has not told its state yet ("unknown", just after the start) is no news.
const storeTone = (state) => ({ up: "good", unknown: "none" })[state ?? "unknown"] ?? "bad";

// ------------------------------------------------------------------------------------------------- the notices

// What is out of order: [{key, tone, words, to}], the worst first.
export function notices(status) {
  const found = [];
  const add = (key, tone, words, to) => found.push({ key, tone, words, to });
  const targets = status.targets ?? [];
  if (status.reload_error) {
    add("reload", "bad", `The last reload failed; generation ${status.generation} still serves.`, "#system");
  }
  const gone = (status.workers ?? []).filter((worker) => !worker.alive);
  if (gone.length > 0) {
    const which = gone.map((worker) => worker.place).join(", ");
    add("workers", "bad", gone.length === 1 ? `Worker ${which} is not heard of.` : `Workers ${which} are not heard of.`,
      "#system");
  }
  for (const target of targets.filter(({ state }) => state === "open")) {
    add(`target-${target.name}`, "bad", `Target ${target.name} is left alone: its breaker is open.`, "#system");
  }
  for (const target of targets.filter(({ state }) => state === "half_open")) {
    add(`target-${target.name}`, "warn", `Target ${target.name} is being tried again.`, "#system");
  }
  if (storeTone(status.store?.state) === "bad") {
    add("store", "bad", `The ${status.store.kind} store is ${status.store.state}.`, "#system");
  }
  const full = (status.limits ?? []).filter(({ fraction }) => fraction >= FULL);
  const near = (status.limits ?? []).filter(({ fraction }) => fraction >= NEAR && fraction < FULL);
  if (full.length > 0) {
    add("full", "warn", `${plural(full.length, "limit is", "limits are")} used up.`, "#limits");
  } else if (near.length > 0) {
    add("near", "warn", `${plural(near.length, "limit is", "limits are")} nearly used up.`, "#limits");
  }
  if (status.logs?.dropped > 0) {
    add("logs", "warn", `${plural(status.logs.dropped, "log record", "log records")} dropped.`, "#system");
  }
  return found;
}

export function showNotices(found) {
  keyed(byId("notices"), found, ({ key }) => key,
    ({ to }) => el("li", {}, el("a", { href: to }, el("span", { class: "notice-icon" }), el("span", {}))),
    (node, { tone, words }) => {
      const [mark, text] = node.firstChild.children;
      if (node.dataset.tone !== tone) mark.replaceChildren(icon(tone === "bad" ? "alert" : "warn"));
      setAttribute(node, "data-tone", tone);
      setText(text, words);
    });
}

// ---------------------------------------------------------------------------------------------------- limits

export function limits() {
  const table = byId("limits-table");
  const filter = byId("limits-filter");
  let last = null;

  function show() {
    if (last === null) return;
    const words = filter.value.trim().toLowerCase();
    const all = last.limits ?? [];
    const found = all
      .filter(({ name, scope }) => `${name} ${scope}`.toLowerCase().includes(words))
      .sort((a, b) => b.fraction - a.fraction || a.scope.localeCompare(b.scope) || a.name.localeCompare(b.name));
    keyed(table.tBodies[0], found, ({ name, scope, window_seconds: window }) => `${name}\n${scope}\n${window}`,
      makeLimit, (node, limit) => updateLimit(node, limit, last.now));
    setHidden(table, found.length === 0);
    setHidden(byId("limits-nothing"), found.length > 0);
    setText(byId("limits-nothing"), all.length > 0
      ? "No limit matches."
      : "No limit has been asked yet: each is shown from when the first request meets it.");
  }

  filter.addEventListener("input", show);
  return {
    update(status) {
      last = status;
      show();
    },
  };
}

function makeLimit({ name, scope }) {
  const bar = meter(`${name}, ${scope}`);
  // A row may be laid out as a grid (on phones), so what it is to a screen reader is said by roles.
  const cell = (more, ...children) => el("td", { role: "cell", class: more }, ...children);
  const node = el("tr", { role: "row" },
    el("th", { scope: "row", role: "rowheader" }, el("span", { class: "name" }, scope || "everybody")),
    cell(null, el("span", { class: "name" }, name)),
    cell("wide", bar.node),
    cell("number", el("span", {}, "")),
    cell("number", ""),
    cell(null, el("span", { class: "state" })),
    cell("number", ""),
    cell("number quiet", ""));
  node.bar = bar;
  return node;
}

function updateLimit(node, limit, now) {
  const { used, limit: most, fraction, window_seconds: window, seen_at: seenAt } = limit;
  const [state, words] = fraction >= FULL ? ["bad", "used up"] : fraction >= NEAR ? ["warn", "near"] : ["good", "free"];
  node.bar.update(fraction, `${count(used)} of ${count(most)}, ${words}`);
  setAttribute(node, "data-tone", state);
  setText(node.cells[3].firstChild, `${count(used)} of ${count(most)}`);
  setText(node.cells[4], percent(fraction));
  stateMark(node.cells[5].firstChild, state, words);
  setText(node.cells[6], window > 0 ? span(window) : "at a time");
  setText(node.cells[7], ago(seenAt, now));
}

// A state's words with its mark; marks differ in form as well as in colour.
export function stateMark(node, tone, words) {
  if (node.dataset.tone !== tone) {
    node.dataset.tone = tone;
    node.replaceChildren(icon({ good: "ok", warn: "warn", bad: "alert" }[tone] ?? "dot"), el("span", {}));
  }
  setText(node.lastChild, words);
}

// ---------------------------------------------------------------------------------------------------- system

export function system() {
  return {
    update(status) {
      configuration(status);
      workers(status);
      targets(status);
      services(status);
    },
  };
}

function configuration(status) {
  setText(byId("generation"), status.generation);
  setText(byId("loaded-at"), `${moment(status.loaded_at)} (${ago(status.loaded_at, status.now)})`);
  setText(byId("started-at"), `${moment(status.started_at)} (${ago(status.started_at, status.now)})`);
  setText(byId("version"), status.version);
  setText(byId("plugins"), (status.plugins ?? []).join(", ") || "none");
  const lines = [status.reload_error ?? []].flat();
  setHidden(byId("reload-error"), lines.length === 0);
  setHidden(byId("reload-good"), lines.length > 0);
  setText(byId("reload-error-text"), lines.join("\n"));
  const at = status.reload_failed_at;
  setText(byId("reload-failed-at"), at ? `${clock(at)}, ${ago(at, status.now)}` : "");
}

function workers({ workers: all = [], now, generation }) {
  keyed(byId("workers").tBodies[0], all, ({ place }) => place,
    () => el("tr", {}, el("th", { scope: "row" }, ""), el("td", { class: "number" }, ""),
      el("td", {}, el("span", { class: "state" })), ...[1, 2, 3, 4].map(() => el("td", { class: "number" }, "")),
      el("td", { class: "number quiet" }, "")),
    (node, worker) => {
      const cells = node.cells;
      const behind = worker.alive && worker.generation !== generation;
      setText(cells[0], worker.place);
      setText(cells[1], worker.pid ?? "–");
      stateMark(cells[2].firstChild, worker.alive ? (behind ? "warn" : "good") : "bad",
        worker.alive ? (worker.draining ? "draining" : "running") : "not heard of");
      setText(cells[3], worker.generation ?? "–");
      setText(cells[4], count(worker.clients));
      setText(cells[5], count(worker.in_flight));
      setText(cells[6], `${count(worker.connections?.open)} / ${count(worker.connections?.idle)}`);
      setText(cells[7], ago(worker.seen_at, now));
    });
}

function targets({ targets: all = [], now }) {
  const table = byId("targets");
  keyed(table.tBodies[0], all, ({ name }) => name,
    () => el("tr", {}, el("th", { scope: "row" }, el("span", { class: "name" }, "")),
      el("td", {}, el("span", { class: "state" })), el("td", {}, ""), el("td", { class: "number" }, "")),
    (node, target) => {
      const tone = { closed: "good", half_open: "warn", open: "bad" }[target.state] ?? "none";
      setText(node.cells[0].firstChild, target.name);
      stateMark(node.cells[1].firstChild, tone, STATE_WORDS[target.state] ?? target.state);
      const left = (new Date(target.until) - new Date(now)) / 1000;
      setText(node.cells[2], target.until && left > 0 ? `tried again in ${span(Math.ceil(left))}` : "–");
      setText(node.cells[3], (target.places ?? []).join(", ") || "–");
    });
  setHidden(table, all.length === 0);
  setHidden(byId("targets-nothing"), all.length > 0);
}

function services(status) {
  const { store = {}, cache = {}, journals = {}, logs = {} } = status;
  stateMark(byId("store-state"), storeTone(store.state), `${store.kind ?? "none"}, ${store.state ?? "unknown"}`);
  const parts = ["hit", "coalesced", "miss", "bypass"];
  const all = parts.reduce((total, part) => total + (cache[part] ?? 0), 0);
  const saved = (cache.hit ?? 0) + (cache.coalesced ?? 0);
  const asked = saved + (cache.miss ?? 0);
  for (const part of parts) {
    setText(byId(`cache-${part}`), count(cache[part] ?? 0));
    setVariable(byId(`cache-bar-${part}`), "--fraction", all > 0 ? ((cache[part] ?? 0) / all).toFixed(4) : 0);
  }
  setText(byId("cache-rate"), asked > 0 ? `${percent(saved / asked)} of lookups spared a call` : "not asked yet");
  setText(byId("journals-state"), journals.directory
    ? `${plural(journals.written ?? 0, "journal", "journals")} written to ${journals.directory}`
    : "off");
  const dropped = logs.dropped ?? 0;
  stateMark(byId("logs-state"), dropped > 0 ? "warn" : "good",
    dropped > 0 ? `${plural(dropped, "record", "records")} dropped` : "none dropped");
  setHidden(byId("credentials-title"), Object.keys(status.credentials ?? {}).length === 0);
  keyed(byId("credentials"), Object.entries(status.credentials ?? {}), ([name]) => name,
    () => el("div", {}, el("dt", {}, ""), el("dd", {}, "")),
    (node, [name, method]) => {
      setText(node.firstChild, name === "" ? "AWS chain" : name);
      setText(node.lastChild, method);
    });
}
