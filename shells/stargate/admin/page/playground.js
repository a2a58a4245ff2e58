// The playground: one message to a model, by the gateway's own front door, and what comes back as it comes.
//
// The request passes keys, limits, cache and log as any caller's does, and its answer is read as strictly as a
// good client reads one: an answer that breaks off is told as broken, never as finished; an error is shown in
// the gateway's own words. The consumer's key stays in this tab.
//
// Text is added to one text node, once a frame at most, however many tokens come meanwhile.

import { problemOf, send } from "./api.js";
import { announce, byId, el, forThisTab, keyed, kept, setAttribute, setHidden, setText } from "./dom.js";
import { readEvents } from "./events.js";
import { count, milliseconds, rate } from "./format.js";
import { stateMark } from "./health.js";

const RAW_EVENTS_MAX = 2000;
const ANSWER_CHARS_MAX = 2_000_000;
const LIST_LIMIT_MS = 15_000;

// How each API is asked, and read. compose: the body; piece: what an event of a stream says, as far as this
// page needs it: {text, thought, usage: {input, output}, error, ended}; whole: the same of an answer in one.
const APIS = {
  chat: {
    path: "v1/chat/completions",
    headers: {},
    compose: ({ model, system, user, tokens, stream }) => ({
      model,
      messages: [...(system ? [{ role: "system", content: system }] : []), { role: "user", content: user }],
      max_completion_tokens: tokens,
      ...(stream ? { stream, stream_options: { include_usage: true } } : {}),
    }),
    piece({ data }) {
      if (data === "[DONE]") return { ended: true };
      const told = JSON.parse(data);
      if (told.error) return { error: told.error };
      const delta = told.choices?.[0]?.delta ?? {};
      return { text: delta.content, thought: delta.reasoning_content, usage: chatUsage(told.usage) };
    },
    whole: (told) => ({
      text: told.choices?.[0]?.message?.content, thought: told.choices?.[0]?.message?.reasoning_content,
      usage: chatUsage(told.usage),
    }),
  },
  messages: {
    path: "v1/messages",
    headers: { "anthropic-version": "2023-06-01" },
    compose: ({ model, system, user, tokens, stream }) => ({
      model, max_tokens: tokens, ...(system ? { system } : {}),
      messages: [{ role: "user", content: user }], ...(stream ? { stream } : {}),
    }),
    piece({ event, data }) {
      const told = JSON.parse(data);
      switch (told.type ?? event) {
        case "message_start": return { usage: messagesUsage(told.message?.usage) };
        case "content_block_delta": return { text: told.delta?.text, thought: told.delta?.thinking };
        case "message_delta": return { usage: messagesUsage(told.usage) };
        case "message_stop": return { ended: true };
        case "error": return { error: told.error ?? {} };
        default: return {};
      }
    },
    whole: (told) => ({
      text: (told.content ?? []).map(({ text }) => text ?? "").join(""), usage: messagesUsage(told.usage),
    }),
  },
};

const chatUsage = (usage) => usage && { input: usage.prompt_tokens, output: usage.completion_tokens };
const messagesUsage = (usage) => usage && { input: usage.input_tokens, output: usage.output_tokens };

export function playground({ explainThis }) {
  const form = byId("playground-form");
  const { key, model, api, system, user, tokens, stream } = form.elements;
  const answer = answerPane();
  let running = null;
  let isOpen = false;

  key.value = kept.read(forThisTab, "key") ?? "";

  function wanted() {
    const chosen = APIS[api.value];
    const body = chosen.compose({
      model: model.value.trim(), system: system.value.trim(), user: user.value,
      tokens: Number(tokens.value), stream: stream.checked,
    });
    const headers = { "content-type": "application/json", ...chosen.headers };
    if (key.value.trim()) headers["x-api-key"] = key.value.trim();
    return { chosen, body, headers };
  }

  async function run() {
    const { chosen, body, headers } = wanted();
    const mine = (running = new AbortController());
    setBusy(true);
    answer.begin();
    try {
      const response = await send(chosen.path, {
        method: "POST", headers, body: JSON.stringify(body), signal: mine.signal,
      });
      answer.answered(response);
      if (!response.ok) await answer.refused(response);
      else if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
        await readEvents(response.body, (event) => answer.event(event, chosen));
        answer.ended();
      } else answer.whole(await response.text(), chosen);
    } catch (error) {
      if (mine.signal.aborted) answer.stopped();
      else answer.broken(error.message);
    } finally {
      if (running === mine) running = null;
      setBusy(false);
    }
  }

  function setBusy(busy) {
    // The focus must not be lost with the button that goes.
    const [stopping, sending] = [byId("playground-stop"), byId("playground-send")];
    const [shown, hidden] = busy ? [stopping, sending] : [sending, stopping];
    setHidden(shown, false);
    if (document.activeElement === hidden) shown.focus();
    setHidden(hidden, true);
  }

  function stop() {
    if (running === null) return false;
    running.abort();
    return true;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (running === null) run();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  byId("playground-stop").addEventListener("click", stop);
  byId("playground-explain").addEventListener("click", () => {
    const { chosen, body, headers } = wanted();
    explainThis({ method: "POST", path: `/${chosen.path}`, headers, body });
  });

  // ------------------------------------------------------------------------------------------- which models

  async function listModels() {
    const told = byId("models-told");
    setAttribute(told, "data-tone", null);
    if (!key.value.trim() && !isOpen) {
      setText(told, "With a consumer's key, its models are listed here.");
      return;
    }
    const headers = key.value.trim() ? { "x-api-key": key.value.trim() } : {};
    try {
      const response = await send("v1/models", { headers, limitMs: LIST_LIMIT_MS });
      if (!response.ok) throw await problemOf(response);
      const names = ((await response.json()).data ?? []).map(({ id }) => id);
      keyed(byId("playground-models"), names, (name) => name, (name) => el("option", { value: name }), () => {});
      // Not under the hand of somebody who is about to type a name.
      if (!model.value && names.length > 0 && document.activeElement !== model) model.value = names[0];
      setText(told, `${names.length} to choose from`);
    } catch (error) {
      setText(told, error.message);
      setAttribute(told, "data-tone", "bad");
    }
  }

  key.addEventListener("change", () => {
    kept.write(forThisTab, "key", key.value.trim() || null);
    listModels();
  });

  return {
    update(status) {
      if (status.open === isOpen) return;
      isOpen = status.open;
      listModels();
    },
    show: listModels,
    stop,
  };
}

// What comes back. Each of its functions is one thing that may happen to an answer.
function answerPane() {
  const text = byId("answer-text");
  const raw = byId("answer-raw");
  const figures = ["first", "rate", "tokens", "total"].map((name) => byId(`answer-${name}`));
  const outcome = byId("answer-outcome");
  const problem = byId("answer-problem");
  let now = fresh();

  function fresh() {
    return {
      begun: 0, firstAt: 0, lastAt: 0, pieces: 0, chars: 0, usage: {}, isEnded: false, isFailed: false,
      node: document.createTextNode(""), thoughts: null, pending: "", pendingThought: "", frame: 0, rawEvents: 0,
    };
  }

  function flush() {
    now.frame = 0;
    if (now.pendingThought) {
      if (now.thoughts === null) {
        now.thoughts = el("p", { class: "thought" });
        text.prepend(now.thoughts);
      }
      now.thoughts.append(now.pendingThought);
      now.pendingThought = "";
    }
    if (now.pending) {
      const follows = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
      now.node.appendData(now.pending);
      now.pending = "";
      if (follows) text.scrollTop = text.scrollHeight;
    }
    showFigures();
  }

  function showFigures() {
    const seconds = (now.lastAt - now.firstAt) / 1000;
    const tokens = now.usage.output ?? now.pieces;
    const [first, speed, number, total] = figures;
    setText(first, now.firstAt ? milliseconds(now.firstAt - now.begun) : "–");
    setText(speed, now.pieces > 1 && seconds > 0 ? rate((tokens - 1) / seconds) : "–");
    setText(number, now.usage.output === undefined
      ? (now.pieces > 0 ? `${count(now.pieces)} pieces` : "–")
      : `${count(now.usage.input)} → ${count(now.usage.output)}`);
    setText(total, milliseconds((now.lastAt || performance.now()) - now.begun));
  }

  function take({ text: piece, thought, usage, error, ended }) {
    now.lastAt = performance.now();
    if ((piece || thought) && !now.firstAt) now.firstAt = now.lastAt;
    if (piece || thought) now.pieces += 1;
    if (piece && now.chars < ANSWER_CHARS_MAX) now.pending += piece;
    if (thought && now.chars < ANSWER_CHARS_MAX) now.pendingThought += thought;
    now.chars += (piece ?? "").length + (thought ?? "").length;
    for (const [name, value] of Object.entries(usage ?? {})) if (value !== undefined) now.usage[name] = value;
    if (error) fail("The answer broke off", error.message ?? "no more was said", error.code ?? error.type);
    if (ended) now.isEnded = true;
    now.frame ||= requestAnimationFrame(flush);
  }

  function note(line) {
    now.rawEvents += 1;
    if (now.rawEvents > RAW_EVENTS_MAX) raw.firstChild?.remove();
    raw.append(el("li", {}, line));
  }

  function settle(tone, words) {
    cancelAnimationFrame(now.frame);
    now.lastAt ||= performance.now();
    flush();
    stateMark(outcome, tone, words);
    text.removeAttribute("aria-busy");
    announce(`${words}. ${now.usage.output === undefined ? "" : `${count(now.usage.output)} tokens.`}`);
  }

  function fail(title, message, code) {
    now.isFailed = true;
    setHidden(problem, false);
    setText(problem.firstElementChild, code ? `${title}: ${code}` : title);
    setText(problem.lastElementChild, message);
    settle("bad", title);
  }

  return {
    begin() {
      now = fresh();
      now.begun = performance.now();
      text.replaceChildren(now.node);
      raw.replaceChildren();
      setHidden(problem, true);
      setHidden(byId("answer-request"), true);
      setHidden(byId("answer-pane"), false);
      setHidden(byId("answer-empty"), true);
      text.setAttribute("aria-busy", "true");
      stateMark(outcome, "none", "waiting for the first byte");
      showFigures();
    },
    answered(response) {
      const id = response.headers.get("x-request-id") ?? response.headers.get("request-id")
        ?? response.headers.get("x-amzn-requestid");
      note(`HTTP ${response.status}`);
      for (const [name, value] of response.headers) note(`${name}: ${value}`);
      if (id) {
        setHidden(byId("answer-request"), false);
        setText(byId("answer-request"), id);
        setAttribute(byId("answer-request"), "href", `#requests/${encodeURIComponent(id)}`);
      }
      if (response.ok) stateMark(outcome, "none", "answering");
    },
    async refused(response) {
      const body = await response.text();
      note(body);
      let told = {};
      try {
        const parsed = JSON.parse(body);
        told = parsed.error ?? parsed;
      } catch {
        // Shown as it is.
      }
      const after = response.headers.get("retry-after");
      const again = after ? ` Try again in ${after} s.` : "";
      fail(`The gateway answered ${response.status}`, `${told.message ?? body}${again}`, told.code ?? told.type);
    },
    event(event, chosen) {
      note(event.event === "message" ? event.data : `${event.event}  ${event.data}`);
      take(chosen.piece(event));
    },
    whole(body, chosen) {
      note(body);
      take(chosen.whole(JSON.parse(body)));
      settle("good", "complete");
    },
    ended() {
      if (now.isFailed) return;
      if (now.isEnded) settle("good", "complete");
      else fail("The answer broke off", "The stream ended before the answer's own end.");
    },
    stopped: () => settle("warn", "stopped by you"),
    broken(message) {
      if (!now.isFailed) fail("The answer broke off", message);
    },
  };
}
