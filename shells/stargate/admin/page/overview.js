// The overview: what goes through at this moment, how fast it is answered, and who causes it.

import { distribution, timeChart } from "./charts.js";
import { byId, el, keyed, setAttribute, setHidden, setText, setVariable } from "./dom.js";
import { count, milliseconds, money, percent, plural, rate } from "./format.js";

const RECENT_SECONDS = 10;
const MINUTE_SECONDS = 60;
const ROWS_MAX = 50;
const ERROR_SHARE = 0.01; // From here on the tile is of another colour: a page that always warns warns of nothing.

const sum = (list) => list.reduce((total, value) => total + value, 0);

function tailSum(series, name, seconds) {
  return sum((series[name] ?? []).slice(-Math.max(1, Math.round(seconds / series.step_seconds))));
}

export function overview() {
  const traffic = timeChart({
    title: "Requests", unit: "each second",
    marks: [{ name: "Requests/s", kind: "area" }, { name: "Errors/s", kind: "bars" }],
  });
  const tokens = timeChart({
    title: "Tokens", unit: "each second",
    marks: [{ name: "Output/s", kind: "line" }, { name: "Input/s", kind: "dashed" }],
  });
  const firstByte = distribution({ title: "Time to first byte" });
  const total = distribution({ title: "Time to last byte" });
  byId("charts").replaceChildren(traffic.node, tokens.node, firstByte.node, total.node);
  const tables = [
    usageTable(byId("consumers"), "consumer", "No request has come from a known consumer yet."),
    usageTable(byId("models"), "model", "No model has been asked for yet."),
  ];

  function tiles({ series, latency, in_flight: inFlight }) {
    const known = Math.max(1, Math.min(RECENT_SECONDS, (series.requests ?? []).length) * series.step_seconds);
    const each = (name) => tailSum(series, name, RECENT_SECONDS) / known;
    const requests = tailSum(series, "requests", MINUTE_SECONDS);
    const errors = tailSum(series, "errors", MINUTE_SECONDS);
    setText(byId("tile-requests"), rate(each("requests")));
    setText(byId("tile-in-flight"), `${count(inFlight)} in flight`);
    setText(byId("tile-errors"), percent(requests > 0 ? errors / requests : 0));
    setText(byId("tile-errors-note"), `${count(errors)} of ${count(requests)} in a minute`);
    setAttribute(byId("tile-errors").closest(".tile"), "data-tone", errors / requests >= ERROR_SHARE ? "bad" : null);
    setText(byId("tile-tokens"), rate(each("output_tokens")));
    setText(byId("tile-tokens-note"), `${rate(each("input_tokens"))} input tokens/s`);
    setText(byId("tile-first-byte"), milliseconds(latency?.first_byte_ms?.p50));
    setText(byId("tile-first-byte-note"), `p99 ${milliseconds(latency?.first_byte_ms?.p99)}`);
    const cost = tailSum(series, "cost_usd", MINUTE_SECONDS);
    setText(byId("tile-cost"), money(cost * 60));
    setText(byId("tile-cost-note"), `${money(cost)} in the last minute`);
  }

  return {
    update(status) {
      const { series, latency } = status;
      tiles(status);
      traffic.update([series.requests ?? [], series.errors ?? []], series.step_seconds);
      tokens.update([series.output_tokens ?? [], series.input_tokens ?? []], series.step_seconds);
      firstByte.update(latency?.first_byte_ms);
      total.update(latency?.total_ms);
      tables[0](status.consumers ?? []);
      tables[1](status.models ?? []);
    },
  };
}

const COLUMNS = [
  { key: "requests", show: (row) => count(row.requests) },
  { key: "errors", show: (row) => (row.errors > 0 ? count(row.errors) : "0") },
  { key: "input_tokens", show: (row) => count(row.input_tokens) },
  { key: "cached_tokens", show: (row) => count(row.cached_tokens) },
  { key: "output_tokens", show: (row) => count(row.output_tokens) },
  { key: "cost_usd", show: (row) => money(row.cost_usd) },
];

// A table of index.html whose rows are sums: sorted by the column that was chosen, each row with the share that
// it has of that column. Gives what updates it.
function usageTable(table, filter, nothing) {
  const body = table.tBodies[0];
  const note = el("p", { class: "nothing" }, nothing);
  table.parentElement.append(note);
  let by = "requests";
  let rows = [];
  const heads = [...table.tHead.querySelectorAll("th[data-key]")];
  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      by = head.dataset.key;
      show();
    });
  }

  function show() {
    for (const head of heads) setAttribute(head, "aria-sort", head.dataset.key === by ? "descending" : null);
    const all = sum(rows.map((row) => row[by] ?? 0));
    const sorted = [...rows].sort((a, b) => (b[by] ?? 0) - (a[by] ?? 0) || a.name.localeCompare(b.name));
    keyed(body, sorted.slice(0, ROWS_MAX), (row) => row.name, make, (node, row) => {
      setVariable(node, "--share", all > 0 ? ((row[by] ?? 0) / all).toFixed(4) : 0);
      COLUMNS.forEach((column, at) => setText(node.cells[at + 1], column.show(row)));
      setAttribute(node.cells[2], "data-tone", row.errors > 0 ? "bad" : null);
    });
    setHidden(table, rows.length === 0);
    setHidden(note, rows.length > 0 && rows.length <= ROWS_MAX);
    setText(note, rows.length > ROWS_MAX ? `and ${plural(rows.length - ROWS_MAX, "other", "others")}` : nothing);
  }

  function make(row) {
    const to = `#requests?${new URLSearchParams({ [filter]: row.name })}`;
    return el("tr", {},
      el("th", { scope: "row" },
        el("a", { href: to, class: "name", title: row.name }, row.name || "(none)"),
        el("span", { class: "share", "aria-hidden": "true" })),
      ...COLUMNS.map(() => el("td", { class: "number" })));
  }

  return (list) => {
    rows = list;
    show();
  };
}
