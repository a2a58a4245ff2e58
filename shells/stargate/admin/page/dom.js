// The document, touched as little as possible: a node is written only where what it shows has changed, and rows
// stay the nodes that they were, so that focus, selection and scrolling survive each update.
//
// There is one rule for safety: what comes from the gateway (names of models, of consumers, errors' words) is
// only ever the value of a text node or of an attribute that is no address. Nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// An element: `el("td", {class: "number"}, "12")`. A property that is a function listens; null and false leave
// an attribute out; true gives one without a value.
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else setAttribute(node, name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// An icon of the sheet in index.html.
export function icon(name) {
  return svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#icon-${name}` }));
}

// The node's only content becomes this text.
export function setText(node, value) {
  const text = String(value);
  const first = node.firstChild;
  if (first === null) node.append(text);
  else if (first.nodeType !== Node.TEXT_NODE || first.nextSibling !== null) node.textContent = text;
  else if (first.nodeValue !== text) first.nodeValue = text;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

// A custom property by CSSOM: the policy forbids style attributes, and this is none.
export function setVariable(node, name, value) {
  const text = String(value);
  if (node.style.getPropertyValue(name) !== text) node.style.setProperty(name, text);
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

// Makes a parent's children follow a list. keyOf: what an item is known by, also in the next list; make: its
// node, once; update: called with the node and the item each time.
export function keyed(parent, items, keyOf, make, update) {
  const known = (parent.keyedNodes ??= new Map());
  const kept = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    if (kept.has(key)) continue;
    const node = known.get(key) ?? make(item);
    update(node, item);
    kept.set(key, node);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  for (const [key, node] of known) if (!kept.has(key)) node.remove();
  parent.keyedNodes = kept;
}

// What a screen reader is told, politely. The same words twice are told once: nobody wants to hear them again.
let lastAnnounced = "";
export function announce(words) {
  if (words === lastAnnounced) return;
  lastAnnounced = words;
  setText(byId("announcer"), words);
}

// What the browser keeps of choices; a browser that keeps nothing is no fault.
export const kept = {
  read(store, name) {
    try {
      return store().getItem(`stargate.${name}`);
    } catch {
      return null;
    }
  },
  write(store, name, value) {
    try {
      if (value === null) store().removeItem(`stargate.${name}`);
      else store().setItem(`stargate.${name}`, value);
    } catch {
      // It is kept for as long as this document lives, by whoever called.
    }
  },
};
export const forever = () => localStorage;
export const forThisTab = () => sessionStorage;
