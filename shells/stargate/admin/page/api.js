// The admin listener's API, and the gateway behind it: who asks, with which token, and what is said when an
// answer is no good.
//
// The admin token is asked for when the listener says 401, kept for this tab only, and sent in `authorization`
// to the origin the page came from and nowhere else (the policy's `connect-src 'self'` sees to that as well).
// Whoever asks while the token is wanted waits for it, and asks once more.

import { forThisTab, kept } from "./dom.js";
import { readEvents } from "./events.js";

const ANSWER_LIMIT_MS = 15_000;
const RETRY_MS_FIRST = 500;
const RETRY_MS_MAX = 15_000;
const SILENCE_MS_MAX = 6_000; // A status comes each second.

// Why something was not answered; `status` is 0 where nothing was heard at all.
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let token = kept.read(forThisTab, "token");
let wanted = null;
let askForToken = () => {};

// What shows the form for the token, given the listener's own words.
export function onTokenWanted(show) {
  askForToken = show;
}

export function giveToken(value) {
  token = value;
  kept.write(forThisTab, "token", value);
  wanted?.resolve();
  wanted = null;
}

export const hasToken = () => token !== null;

export function forgetToken() {
  token = null;
  kept.write(forThisTab, "token", null);
}

function headersWith(headers) {
  return token === null ? headers : { ...headers, authorization: `Bearer ${token}` };
}

// The response, whatever its status, but never 401 of the listener's: then the token is asked for.
// limitMs: for all of one answer; without it an answer may take its time, as streams do.
export async function send(path, { method = "GET", headers = {}, body, signal, limitMs } = {}) {
  for (;;) {
    const used = token;
    const signals = [signal, limitMs === undefined ? undefined : AbortSignal.timeout(limitMs)];
    let response;
    try {
      response = await fetch(path, {
        method, body, headers: headersWith(headers), cache: "no-store", credentials: "omit",
        redirect: "error", signal: AbortSignal.any(signals.filter((one) => one !== undefined)),
      });
    } catch (error) {
      if (error.name === "AbortError" || error.name === "TimeoutError") throw error;
      throw new Problem(0, "the gateway can't be reached");
    }
    if (response.status !== 401 || !response.headers.get("www-authenticate")?.includes("stargate admin")) {
      return response;
    }
    const said = (await problemOf(response)).message;
    if (used !== token) continue; // Somebody has given another meanwhile.
    await tokenGiven(said, signal);
  }
}

function tokenGiven(said, signal) {
  if (wanted === null) {
    wanted = {};
    wanted.promise = new Promise((resolve) => (wanted.resolve = resolve));
    askForToken(token === null ? "" : said);
  }
  const given = wanted.promise;
  return new Promise((resolve, reject) => {
    given.then(resolve);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

// What an answer that is no success says.
export async function problemOf(response) {
  let message = "";
  try {
    const told = await response.json();
    message = told?.error?.message ?? told?.message ?? "";
  } catch {
    // Its status has to do.
  }
  return new Problem(response.status, message || `the answer was ${response.status}, and no more was said`);
}

// An API's answer as JSON. Throws Problem, or the signal's own reason.
export async function ask(path, options = {}) {
  let response;
  try {
    response = await send(path, { limitMs: ANSWER_LIMIT_MS, ...options });
  } catch (error) {
    if (error.name === "TimeoutError") throw new Problem(0, "the gateway has not answered in time");
    throw error;
  }
  if (!response.ok) throw await problemOf(response);
  try {
    return await response.json();
  } catch {
    throw new Problem(response.status, "the answer is not the JSON that this page expects");
  }
}

// Follows the status until it is stopped. onStatus gets each; onState gets {name, retryAt, why}: name is
// "live", "connecting" or "lost". Gives a function that stops, for good or until it is called again.
export function watch(onStatus, onState) {
  let stopping = new AbortController();
  let waitMs = RETRY_MS_FIRST;
  let wake = () => {};

  async function once(signal) {
    const quiet = new AbortController();
    const both = AbortSignal.any([signal, quiet.signal]);
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => quiet.abort(new Problem(0, "the gateway has fallen silent")), SILENCE_MS_MAX);
    };
    try {
      const response = await send("api/stream", { signal: both, headers: { accept: "text/event-stream" } });
      if (!response.ok) throw await problemOf(response);
      heard();
      await readEvents(response.body, ({ event, data }) => {
        heard();
        if (event !== "status") return;
        waitMs = RETRY_MS_FIRST;
        onStatus(JSON.parse(data));
        onState({ name: "live" });
      });
      throw new Problem(0, "the gateway has ended the stream");
    } catch (error) {
      throw quiet.signal.aborted ? quiet.signal.reason : error;
    } finally {
      clearTimeout(timer);
    }
  }

  async function follow(signal) {
    onState({ name: "connecting" });
    while (!signal.aborted) {
      let why = "";
      try {
        await once(signal);
      } catch (error) {
        if (signal.aborted) return;
        why = error instanceof Problem ? error.message : "the connection broke";
      }
      // Not all pages that have lost a gateway may come back at the same moment.
      const delay = waitMs * (0.5 + Math.random() / 2);
      waitMs = Math.min(waitMs * 2, RETRY_MS_MAX);
      onState({ name: "lost", retryAt: Date.now() + delay, why });
      await new Promise((resolve) => {
        wake = resolve;
        setTimeout(resolve, delay);
        signal.addEventListener("abort", resolve, { once: true });
      });
    }
  }

  follow(stopping.signal);
  return {
    stop() {
      stopping.abort();
    },
    start() {
      stopping.abort();
      stopping = new AbortController();
      waitMs = RETRY_MS_FIRST;
      follow(stopping.signal);
    },
    retryNow() {
      waitMs = RETRY_MS_FIRST;
      wake();
    },
  };
}
