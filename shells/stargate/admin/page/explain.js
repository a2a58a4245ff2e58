// The form that asks what the gateway would do with a request; nothing is sent to Bedrock.
//
// The answer is the words of `stargate explain`: a headline, paragraphs that have a name, and messages as they
// would go over the wire.

import { ask } from "./api.js";
import { announce, byId, el, setHidden, setText } from "./dom.js";
import { stateMark } from "./health.js";

const ENDINGS = { sent: ["good", "would be sent to Bedrock"], answered: ["good", "would be answered by the gateway"],
  refused: ["bad", "would be refused"] };
const NAMES = new Set(["refused", "time", "route", "plugins", "caller", "asks for", "goes to", "takes", "cache",
  "assumed", "notes"]);
const NAME_COLUMNS = 11;

export function explain() {
  const form = byId("explain-form");
  const { method, path, key, headers, body } = form.elements;
  const problem = byId("explain-problem");

  function written() {
    const fields = {};
    for (const line of headers.value.split("\n").map((each) => each.trim()).filter(Boolean)) {
      const colon = line.indexOf(":");
      if (colon < 1) throw new Error(`a header is written "name: value", and this one is not: ${line}`);
      const name = line.slice(0, colon).trim().toLowerCase();
      const value = line.slice(colon + 1).trim();
      fields[name] = name in fields ? [fields[name], value].flat() : value;
    }
    if (key.value.trim()) fields["x-api-key"] = key.value.trim();
    const told = { method: method.value, path: path.value.trim(), headers: fields };
    const text = body.value.trim();
    if (!text) return told;
    try {
      return { ...told, body: JSON.parse(text) };
    } catch {
      return { ...told, body: body.value }; // What is no JSON goes as it is: that may be what is in question.
    }
  }

  async function run() {
    setHidden(problem, true);
    try {
      const told = await ask("api/explain", {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(written()),
      });
      show(told);
    } catch (error) {
      setHidden(problem, false);
      setText(problem, `It can't be explained: ${error.message}`);
    }
  }

  function show({ ending, lines }) {
    const [tone, words] = ENDINGS[ending] ?? ["none", String(ending)];
    const state = el("p", { class: "state large" });
    stateMark(state, tone, words);
    const blocks = blocksOf((lines ?? []).slice(1));
    byId("explain-answer").replaceChildren(state, ...blocks.map(blockNode));
    setHidden(byId("explain-empty"), true);
    announce(`The request ${words}`);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });

  return {
    fill(request) {
      method.value = request.method;
      path.value = request.path;
      // The key goes where it can't be read over a shoulder.
      const { "x-api-key": shown = "", ...others } = request.headers;
      key.value = shown;
      headers.value = Object.entries(others).map(([name, value]) => `${name}: ${value}`).join("\n");
      body.value = JSON.stringify(request.body, null, 2);
      run();
    },
  };
}

// The lines as blocks: {rows: [[name, lines]]} for paragraphs with a name, {lines} for the rest.
function blocksOf(lines) {
  const blocks = [];
  let rows = null;
  let rest = null;
  for (const line of lines) {
    const name = line.slice(0, NAME_COLUMNS).trim();
    if (rest === null && NAMES.has(name)) {
      if (rows === null) blocks.push({ rows: (rows = []) });
      rows.push([name, [line.slice(NAME_COLUMNS + 1)]]);
    } else if (rest === null && rows !== null && name === "" && line.trim() !== "") {
      rows.at(-1)[1].push(line.slice(NAME_COLUMNS + 1));
    } else if (rest !== null || line.trim() !== "") {
      // Once a message has begun, blank lines are its own.
      const isNote = rows === null;
      if (rest === null) {
        const block = { lines: [] };
        blocks.push(block);
        if (!isNote) rest = block;
        block.lines.push(line);
      } else rest.lines.push(line);
    }
  }
  return blocks;
}

function blockNode({ rows, lines }) {
  if (!rows) return el("pre", { class: "message", tabindex: 0, role: "region", "aria-label": "As it would be sent" },
    lines.join("\n").trim());
  return el("dl", { class: "told" }, ...rows.map(([name, each]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, ...each.map((line) => el("p", {}, line))))));
}
