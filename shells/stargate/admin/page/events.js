// Server-sent events, read from a fetched body: the browser's own EventSource can't carry a token, and can't
// POST. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

const EVENT_CHARS_MAX = 4 * 1024 * 1024;

// Calls onEvent({event, data}) for each event of a body, as they come; ends with the body, throws as it throws.
export async function readEvents(body, onEvent) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  const split = splitter(onEvent);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      split(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// A function that takes the text as it comes and finds the events in it. An event that was not ended by a blank
// line is none, as the specification has it.
export function splitter(onEvent) {
  let rest = "";
  let name = "";
  let data = [];
  let held = 0;
  return (text) => {
    rest += text;
    let start = 0;
    for (;;) {
      const end = lineEnd(rest, start);
      if (end === null) break;
      const line = rest.slice(start, end.at);
      start = end.next;
      if (line === "") {
        if (data.length > 0) onEvent({ event: name || "message", data: data.join("\n") });
        name = "";
        data = [];
        held = 0;
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
      held += value.length;
      if (field === "event") name = value;
      else if (field === "data") data.push(value);
    }
    rest = rest.slice(start);
    if (rest.length + held > EVENT_CHARS_MAX) throw new Error("an event is larger than this page takes");
  };
}

// Where the next line ends, and the one after it begins. A CR at the very end may be half of a CRLF.
function lineEnd(text, start) {
  for (let at = start; at < text.length; at++) {
    const char = text[at];
    if (char === "\n") return { at, next: at + 1 };
    if (char === "\r") {
      if (at + 1 === text.length) return null;
      return { at, next: text[at + 1] === "\n" ? at + 2 : at + 1 };
    }
  }
  return null;
}
