// The recent requests, newest first, and what is known of one of them.
//
// The list is fetched again while something goes through, at most every two seconds and only while it is seen.
// While somebody points at a row or has the focus in the list, nothing moves under the hand: what is new waits
// behind a button that says how much it is.

import { ask, Problem, problemOf, send } from "./api.js";
import { announce, byId, el, icon, keyed, setAttribute, setHidden, setText, setVariable } from "./dom.js";
import { bytes, clock, count, milliseconds, moment, money, plural } from "./format.js";
import { stateMark } from "./health.js";

const FETCH_EVERY_MS = 2000;
const PAGE_ROWS = 100;
const ROWS_MAX = 500;
const ACTIVE_SECONDS = 5;
const OUTCOMES = {
  complete: ["good", "complete"], failed: ["bad", "failed"], client_left: ["warn", "client left"],
};

// Its tone and its words. The gateway may have answered in full, and with an error nevertheless.
export function outcomeOf(record) {
  if (record.outcome === "complete" && record.status >= 400) return ["warn", "refused"];
  return OUTCOMES[record.outcome] ?? ["none", String(record.outcome ?? "unknown")];
}

export function requests() {
  const body = byId("requests-table").tBodies[0];
  const form = byId("requests-filter");
  const held = byId("requests-held");
  let rows = [];
  let fetchedAt = 0;
  let asking = null;
  let visible = false;
  let waiting = null;
  let isWhole = false;

  const busyHand = () => body.matches(":hover") || body.contains(document.activeElement);

  function query() {
    const parameters = new URLSearchParams({ limit: PAGE_ROWS });
    for (const name of ["consumer", "model"]) {
      const value = form.elements[name].value.trim();
      if (value) parameters.set(name, value);
    }
    if (form.elements.failed.checked) parameters.set("outcome", "failed");
    return parameters;
  }

  // mine: whether a person has asked, and wants to see at once what there is.
  async function fetchRows({ mine, before } = {}) {
    asking?.abort();
    const asked = (asking = new AbortController());
    fetchedAt = Date.now();
    const parameters = query();
    if (before) parameters.set("before", before);
    try {
      const { requests: list } = await ask(`api/requests?${parameters}`, { signal: asked.signal });
      if (before) {
        rows = [...rows, ...list].slice(0, ROWS_MAX);
        isWhole = list.length < PAGE_ROWS || rows.length >= ROWS_MAX;
        show();
      } else take(list, mine);
      setText(byId("requests-problem"), "");
    } catch (error) {
      if (asked.signal.aborted) return;
      setText(byId("requests-problem"), `The requests can't be read: ${error.message}.`);
    } finally {
      if (asking === asked) asking = null;
    }
  }

  function take(list, mine) {
    const known = new Set(rows.map(({ request_id: id }) => id));
    const fresh = list.filter(({ request_id: id }) => !known.has(id)).length;
    if (!mine && busyHand() && rows.length > 0) {
      waiting = fresh > 0 ? list : null;
      setText(held.lastElementChild, `Show ${plural(fresh, "new request", "new requests")}`);
      setHidden(held, fresh === 0);
      return;
    }
    if (mine || fresh > 0 || list.length !== rows.length) {
      rows = list;
      isWhole = list.length < PAGE_ROWS;
    }
    release();
    show();
  }

  function release() {
    waiting = null;
    setHidden(held, true);
  }

  function show() {
    keyed(body, rows, ({ request_id: id }) => id, makeRow, () => {});
    setHidden(byId("requests-table"), rows.length === 0);
    setHidden(byId("requests-nothing"), rows.length > 0);
    setHidden(byId("requests-older"), isWhole || rows.length === 0);
    setText(byId("requests-nothing"), [...query()].length > 1
      ? "No recent request matches."
      : "No request has come yet. Ask something in the playground, and it will be here.");
  }

  held.addEventListener("click", () => {
    rows = waiting ?? rows;
    release();
    show();
    body.querySelector("a")?.focus();
  });
  byId("requests-older").addEventListener("click", () => fetchRows({ before: rows.at(-1)?.request_id }));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    const parameters = query();
    parameters.delete("limit");
    const failed = parameters.get("outcome") === "failed";
    parameters.delete("outcome");
    if (failed) parameters.set("failed", "1");
    history.replaceState(null, "", `#requests${parameters.size > 0 ? `?${parameters}` : ""}`);
    fetchRows({ mine: true });
  });
  body.addEventListener("click", (event) => {
    const link = event.target.closest("tr")?.querySelector("a");
    if (link && !event.target.closest("a") && getSelection().isCollapsed) link.click();
  });

  return {
    update(status) {
      const names = (list) => (list ?? []).map(({ name }) => name).filter(Boolean);
      options(byId("known-consumers"), names(status.consumers));
      options(byId("known-models"), names(status.models));
      const active = (status.series?.requests ?? []).slice(-ACTIVE_SECONDS).some((value) => value > 0);
      const due = Date.now() - fetchedAt >= FETCH_EVERY_MS;
      // Older pages were asked for: they stay until somebody wants the newest.
      if (visible && active && due && asking === null && rows.length <= PAGE_ROWS) fetchRows();
    },
    show(parameters) {
      visible = true;
      form.elements.consumer.value = parameters.get("consumer") ?? "";
      form.elements.model.value = parameters.get("model") ?? "";
      form.elements.failed.checked = parameters.get("failed") === "1";
      fetchRows({ mine: true });
    },
    hide() {
      visible = false;
      asking?.abort();
    },
    // The next or the last row gets the focus.
    move(step) {
      const links = [...body.querySelectorAll("a")];
      const at = links.indexOf(document.activeElement?.closest("tr")?.querySelector("a"));
      const next = at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + step));
      links[next]?.focus();
      return links[next] ?? null;
    },
  };
}

function options(list, names) {
  keyed(list, names, (name) => name, (name) => el("option", { value: name }), () => {});
}

function makeRow(record) {
  // A row may be laid out as a grid (on phones), so what it is to a screen reader is said by roles.
  const cell = (name, words, more = "") => el("td", { role: "cell", class: `${name} ${more}`.trim() }, words);
  const state = el("span", { class: "state" });
  const [tone, words] = outcomeOf(record);
  stateMark(state, tone, record.code ? `${words}: ${record.code}` : words);
  const tokens = record.input_tokens || record.output_tokens
    ? `${count(record.input_tokens ?? 0)} → ${count(record.output_tokens ?? 0)}` : "–";
  return el("tr", { role: "row", "data-tone": tone },
    el("th", { role: "rowheader", scope: "row", class: "r-time" },
      el("a", { href: `#requests/${encodeURIComponent(record.request_id)}`, title: record.request_id },
        clock(record.time))),
    el("td", { role: "cell", class: "r-state" }, state),
    cell("r-status", record.status || "–", "number"),
    cell("r-consumer", record.consumer || "–"),
    el("td", { role: "cell", class: "r-model" }, el("span", { class: "name", title: record.target || record.model || "" },
      record.model || record.target || record.route || "–"),
      record.stream ? el("span", { class: "tag" }, "stream") : null,
      record.cache === "hit" || record.cache === "coalesced"
        ? el("span", { class: "tag" }, record.cache === "hit" ? "cached" : "shared") : null),
    cell("r-tokens", tokens, "number"),
    cell("r-first", record.first_byte_ms ? milliseconds(record.first_byte_ms) : "–", "number"),
    cell("r-total", milliseconds(record.total_ms ?? 0), "number"),
    cell("r-cost", record.cost_usd ? money(record.cost_usd) : "–", "number"));
}

// ----------------------------------------------------------------------------------- one request, in the drawer

const GROUPS = [
  ["Asked", [
    ["Time", (r) => moment(r.time)], ["Consumer", (r) => r.consumer], ["Key", (r) => r.key_id],
    ["Client", (r) => r.client], ["Method and route", (r) => [r.method, r.route].filter(Boolean).join(" ")],
    ["Dialect", (r) => r.dialect], ["Model", (r) => r.model], ["Stream", (r) => (r.stream ? "yes" : "no")],
    ["Request", (r) => (r.request_bytes ? bytes(r.request_bytes) : "")], ["Generation", (r) => r.generation],
    ["Trace", (r) => r.trace_id],
    ["Session", (r) => r.session_id], ["Agent", (r) => r.agent_id], ["Class", (r) => r.request_class],
  ]],
  ["Called", [
    ["Target", (r) => r.target], ["Region", (r) => r.region], ["Operation", (r) => r.operation],
    ["Attempts", (r) => r.attempts],
    ["Waited for a connection", (r) => r.lease_ms && milliseconds(r.lease_ms)],
    ["Bedrock's status", (r) => r.upstream_status],
    ["Bedrock's request id", (r) => r.upstream_request_id], ["Bedrock's exception", (r) => r.upstream_exception],
  ]],
  ["Answered", [
    ["Status", (r) => r.status], ["Code", (r) => r.code], ["Cause", (r) => r.cause], ["Detail", (r) => r.detail],
    ["Limited by", (r) => r.limited_by],
    ["Stop reason", (r) => r.stop_reason], ["Cache", (r) => r.cache],
    ["Tokens in", (r) => r.input_tokens && count(r.input_tokens)],
    ["Tokens out", (r) => r.output_tokens && `${count(r.output_tokens)}${r.usage_estimated ? " (estimated)" : ""}`],
    ["Read from Bedrock's cache", (r) => r.cache_read_tokens && count(r.cache_read_tokens)],
    ["Written to Bedrock's cache", (r) => r.cache_write_tokens && count(r.cache_write_tokens)],
    ["Cost", (r) => r.cost_usd && `${money(r.cost_usd)}${r.cost_estimated ? " (estimated: no price is known)" : ""}`],
    ["Redactions", (r) => r.redactions && count(r.redactions)],
    ["Events", (r) => r.output_events && count(r.output_events)],
    ["Between two events", (r) => r.inter_token_ms && `${milliseconds(r.inter_token_ms)} on average`],
    ["First byte", (r) => r.first_byte_ms && `after ${milliseconds(r.first_byte_ms)}`],
    ["First token", (r) => r.first_token_ms && `after ${milliseconds(r.first_token_ms)}`],
    ["Answer", (r) => (r.response_bytes ? bytes(r.response_bytes) : "")],
  ]],
];

export function drawer() {
  const dialog = byId("drawer");
  const content = byId("drawer-content");
  let asked = null;
  let opener = null;

  dialog.addEventListener("close", () => {
    asked?.abort();
    markRow(null);
    document.documentElement.classList.remove("with-drawer");
    if (location.hash.startsWith("#requests/")) history.replaceState(null, "", "#requests");
    if (opener?.isConnected) opener.focus();
    opener = null;
  });
  byId("drawer-close").addEventListener("click", () => dialog.close());

  async function open(id) {
    if (!dialog.open) {
      opener = document.activeElement === document.body ? null : document.activeElement;
      // On a narrow screen it covers everything, so the rest must be out of reach; beside the list it need not.
      if (matchMedia("(max-width: 900px)").matches) dialog.showModal();
      else dialog.show();
      document.documentElement.classList.add("with-drawer");
    }
    asked?.abort();
    const mine = (asked = new AbortController());
    setText(byId("drawer-id"), id);
    markRow(id);
    content.setAttribute("aria-busy", "true");
    byId("drawer-title").focus();
    try {
      const told = await ask(`api/requests/${encodeURIComponent(id)}`, { signal: mine.signal });
      content.replaceChildren(...parts(told));
      announce(`Request ${id}: ${outcomeOf(told.request)[1]}`);
    } catch (error) {
      if (mine.signal.aborted) return;
      content.replaceChildren(el("p", { class: "problem" }, error instanceof Problem && error.status === 404
        ? "This request is not among the recent ones any more, or has not ended yet."
        : `It can't be read: ${error.message}.`));
    } finally {
      content.removeAttribute("aria-busy");
    }
  }

  return { open, close: () => dialog.open && dialog.close(), isOpen: () => dialog.open };
}

// Which row the drawer tells of.
function markRow(id) {
  const hash = `#requests/${encodeURIComponent(id)}`;
  for (const link of byId("requests-table").tBodies[0].querySelectorAll("a")) {
    setAttribute(link, "aria-current", id !== null && link.getAttribute("href") === hash ? "true" : null);
  }
}

function parts({ request: record, explanation, journal }) {
  const state = el("p", { class: "state large" });
  const [tone, words] = outcomeOf(record);
  stateMark(state, tone, [words, record.code].filter(Boolean).join(": "));
  return [
    state,
    timeline(record),
    el("section", {}, el("h3", {}, "What happened"),
      el("dl", { class: "sentences" }, ...(explanation ?? []).map(({ title, text }) =>
        el("div", {}, el("dt", {}, title), el("dd", {}, text))))),
    record.tried?.length > 0 ? el("section", {}, el("h3", {}, "Attempts"),
      el("ol", { class: "tried" }, ...record.tried.map((one) => el("li", {}, one)))) : null,
    ...GROUPS.map(([title, rows]) => facts(title, rows, record)),
    journal ? journalButton(journal) : null,
  ].filter(Boolean);
}

function facts(title, rows, record) {
  const told = rows.map(([name, show]) => [name, show(record)]).filter(([, value]) => value || value === 0);
  const some = told.filter(([, value]) => value !== 0);
  if (some.length === 0) return null;
  return el("section", {}, el("h3", {}, title),
    el("dl", { class: "facts" }, ...some.map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))));
}

// How its time was spent. Where the record tells what was Bedrock's and what was the gateway's own, so does the bar;
// what is left is the caller's, who took nothing of an answer that was there. Else it is told by what came when:
// a connection, the first byte, the end.
function timeline(record) {
  const total = record.total_ms ?? 0;
  const upstream = Math.min(record.upstream_ms ?? 0, total);
  const own = Math.min(record.overhead_ms ?? 0, total - upstream);
  const lease = Math.min(record.lease_ms ?? 0, total);
  const first = Math.max(lease, Math.min(record.first_byte_ms || total, total));
  const spans = upstream + own > 0 ? [
    ["wait", "the gateway's own", own], ["think", "Bedrock", upstream],
    ["flow", "waiting for the caller", total - upstream - own],
  ] : [
    ["wait", "for a connection", lease], ["think", "until the first byte", first - lease],
    ["flow", "until the end", total - first],
  ];
  const bar = el("div", { class: "timeline", "aria-hidden": "true" });
  for (const [name, , length] of spans) {
    const piece = el("span", { class: name });
    setVariable(piece, "--fraction", total > 0 ? (length / total).toFixed(4) : 0);
    bar.append(piece);
  }
  return el("div", {}, bar, el("ul", { class: "timeline-legend" },
    ...spans.map(([name, words, length]) => el("li", { class: name },
      el("span", { class: "swatch", "aria-hidden": "true" }), el("strong", {}, milliseconds(length)), ` ${words}`))));
}

// A link can't carry the token, so the journal is fetched and then handed to the browser to be saved.
function journalButton(name) {
  const told = el("span", { role: "status" });
  const button = el("button", { type: "button", class: "button", click: async () => {
    try {
      const response = await send(`api/journals/${encodeURIComponent(name)}`);
      if (!response.ok) throw await problemOf(response);
      const url = URL.createObjectURL(await response.blob());
      el("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
      setText(told, "");
    } catch (error) {
      setText(told, `It can't be read: ${error.message}.`);
    }
  } }, icon("download"), el("span", {}, "Save the journal"));
  return el("section", {}, el("h3", {}, "Journal"),
    el("p", { class: "quiet" }, `${name} holds this connection's life; stargate replay lives it again.`),
    button, told);
}
