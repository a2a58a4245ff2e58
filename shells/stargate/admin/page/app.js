// The page's frame: which view is seen, the stream of statuses, the notices, and what keys do.
//
// A view is a section of index.html; the part of the address behind `#` says which, so that a view and a request
// can be linked to and the browser's own back button works. Each status goes to the view that is seen and to no
// other; a page that is not seen at all is not drawn, and after a while does not even listen.

import { forgetToken, giveToken, hasToken, onTokenWanted, watch } from "./api.js";
import { announce, byId, forever, kept, setAttribute, setHidden, setText } from "./dom.js";
import { explain } from "./explain.js";
import { span } from "./format.js";
import { limits, notices, showNotices, system } from "./health.js";
import { overview } from "./overview.js";
import { playground } from "./playground.js";
import { drawer, requests } from "./requests.js";

const HIDDEN_MS_MAX = 30_000;
const explainer = explain();
const views = {
  overview: overview(),
  requests: requests(),
  limits: limits(),
  system: system(),
  explain: explainer,
  playground: playground({
    explainThis(request) {
      location.hash = "#explain";
      explainer.fill(request);
    },
  }),
};
const names = Object.keys(views);
const details = drawer();

let seen = "";
let last = null;
let connection = { name: "connecting" };
let isPaused = false;

// ------------------------------------------------------------------------------------------------- which view

function route({ focus } = {}) {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const [wanted, id] = path.split("/");
  const name = names.includes(wanted) ? wanted : "overview";
  if (name !== seen) {
    views[seen]?.hide?.();
    for (const each of names) {
      setHidden(byId(`view-${each}`), each !== name);
      setAttribute(document.querySelector(`nav a[href="#${each}"]`), "aria-current", each === name ? "page" : null);
    }
    seen = name;
    const heading = byId(`view-${name}`).querySelector("h1");
    document.title = `${heading.textContent} · Stargate`;
    views[name].show?.(new URLSearchParams(query));
    scrollTo(0, 0);
    if (focus && !id) heading.focus({ preventScroll: true });
    draw();
  } else if (!id && name === "requests" && query) views.requests.show(new URLSearchParams(query));
  if (name === "requests" && id) details.open(decodeURIComponent(id));
  else details.close();
}

// ------------------------------------------------------------------------------------------------- the status

function draw() {
  if (last === null || document.hidden) return;
  views[seen].update?.(last);
  const found = notices(last);
  showNotices(found);
  announceNotices(found);
  setHidden(byId("open-note"), !last.open);
}

// Only a change of what is out of order is said, not each figure of it.
let known = new Set();
function announceNotices(found) {
  const fresh = found.filter(({ key }) => !known.has(key));
  const gone = [...known].filter((key) => !found.some((notice) => notice.key === key));
  known = new Set(found.map(({ key }) => key));
  if (fresh.length > 0) announce(fresh.map(({ words }) => words).join(" "));
  else if (gone.length > 0 && found.length === 0) announce("All is in order again.");
}

function showConnection() {
  const pill = byId("connection");
  let state = connection.name;
  let words = { live: "Live", connecting: "Connecting" }[state];
  if (isPaused) [state, words] = ["paused", "Paused"];
  else if (state === "lost") {
    const left = Math.max(0, Math.ceil((connection.retryAt - Date.now()) / 1000));
    const age = last === null ? "" : `Stale for ${span(Math.round((Date.now() - last.heardAt) / 1000))}`;
    words = `${age || "No connection"}, ${left > 0 ? `again in ${left} s` : "trying again"}`;
    setAttribute(pill, "title", connection.why);
  }
  if (state !== "lost") setAttribute(pill, "title", null);
  setAttribute(pill, "data-state", state);
  setText(pill.lastElementChild, words);
  document.documentElement.classList.toggle("stale", state === "lost");
}

let ticking = null;
const following = watch(
  (status) => {
    status.heardAt = Date.now();
    if (isPaused) return;
    last = status;
    requestAnimationFrame(draw);
  },
  (state) => {
    const before = connection.name;
    connection = state;
    if (state.name === before && state.name === "live") return;
    if (state.name === "lost" && before === "live") announce(`The connection is lost: ${state.why}.`);
    if (state.name === "live" && before !== "live" && last !== null) announce("Live again.");
    clearInterval(ticking);
    ticking = state.name === "lost" ? setInterval(showConnection, 1000) : null;
    showConnection();
  },
);
byId("connection").addEventListener("click", () => following.retryNow());

let sleeping = null;
document.addEventListener("visibilitychange", () => {
  clearTimeout(sleeping);
  if (document.hidden) {
    sleeping = setTimeout(() => {
      following.stop();
      sleeping = "asleep";
    }, HIDDEN_MS_MAX);
  } else {
    if (sleeping === "asleep") following.start();
    sleeping = null;
    draw();
  }
});

function setPaused(paused) {
  isPaused = paused;
  setAttribute(byId("pause"), "aria-pressed", paused);
  announce(paused ? "Updates are paused." : "Updates go on.");
  showConnection();
}
byId("pause").addEventListener("click", () => setPaused(!isPaused));

// ------------------------------------------------------------------------------------------- token and dialogs

const tokenDialog = byId("token-dialog");
onTokenWanted((said) => {
  setText(byId("token-problem"), said);
  setHidden(byId("token-problem"), !said);
  if (!tokenDialog.open) tokenDialog.showModal();
  byId("token").focus();
});
tokenDialog.addEventListener("cancel", (event) => event.preventDefault());
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const value = byId("token").value.trim();
  if (!value) return;
  byId("token").value = "";
  tokenDialog.close();
  giveToken(value);
  setHidden(byId("forget"), false);
});
setHidden(byId("forget"), !hasToken());
byId("forget").addEventListener("click", () => {
  forgetToken();
  location.reload();
});

const help = byId("help-dialog");
byId("help").addEventListener("click", () => help.showModal());
byId("help-close").addEventListener("click", () => help.close());
help.addEventListener("click", (event) => {
  if (event.target === help) help.close();
});

// ------------------------------------------------------------------------------------------------------- theme

const THEMES = ["system", "light", "dark"];
function showTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  setAttribute(byId("theme"), "data-theme-now", theme);
  setAttribute(byId("theme"), "aria-label", `Theme: ${theme}`);
  setAttribute(byId("theme"), "title", `Theme: ${theme} (t)`);
}
function nextTheme() {
  const now = document.documentElement.dataset.theme ?? "system";
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  kept.write(forever, "theme", next === "system" ? null : next);
  showTheme(next);
  announce(`Theme: ${next}`);
}
showTheme(document.documentElement.dataset.theme ?? "system");
byId("theme").addEventListener("click", nextTheme);

// -------------------------------------------------------------------------------------------------------- keys

// Single keys can be switched off, for those who speak to their computer (WCAG 2.1.4).
const single = byId("single-keys");
single.checked = kept.read(forever, "single-keys") !== "off";
single.addEventListener("change", () => kept.write(forever, "single-keys", single.checked ? null : "off"));

const KEYS = {
  "?": () => help.showModal(),
  t: nextTheme,
  p: () => setPaused(!isPaused),
  "/": () => byId(`view-${seen}`).querySelector("[data-filter]")?.focus(),
  j: () => seen === "requests" && follow(1),
  k: () => seen === "requests" && follow(-1),
};
names.forEach((name, at) => (KEYS[at + 1] = () => (location.hash = `#${name}`)));

function follow(step) {
  const link = views.requests.move(step);
  if (link && details.isOpen()) link.click();
}

const isTyping = (node) => node.closest?.("input:not([type=checkbox]), textarea, select") !== null;

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    if (isTyping(event.target) && event.target.hasAttribute("data-filter")) event.target.blur();
    else if (seen === "playground" && views.playground.stop()) event.preventDefault();
    else if (!help.open && !tokenDialog.open) details.close();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || !single.checked) return;
  if (help.open || tokenDialog.open) return;
  const act = KEYS[event.key];
  if (act === undefined) return;
  event.preventDefault();
  act();
});

addEventListener("hashchange", () => route({ focus: true }));
route();
showConnection();
