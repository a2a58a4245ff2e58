// Charts in SVG. The nodes are made once; an update writes one `d` a line and a height a bar. The drawing is
// stretched to its box by the browser, so no size is ever measured and no layout is forced; words and figures
// beside it are HTML, which is not stretched.
//
// A chart says nothing by colour alone: of two lines one is dashed, errors are bars against an area, and each
// has its words in the legend. Those who can't see it get its sense as a label.

import { el, setAttribute, setText, setVariable, svg } from "./dom.js";
import { count, milliseconds, nice, rate, span } from "./format.js";

const HEIGHT = 100;
const STEP = 10;

// Lines over time. title: what it shows; marks: [{key, name, kind}], kind being area, line, dashed or bars;
// unit: said after figures. Gives {node, update}.
export function timeChart({ title, marks, unit }) {
  const shapes = marks.map(({ kind }) =>
    kind === "area"
      ? [svg("path", { class: "fill" }), svg("path", { class: "stroke" })]
      : [svg("path", { class: kind === "bars" ? "bars" : `stroke ${kind}` })],
  );
  const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
  const groups = marks.map((mark, at) => svg("g", { class: `mark-${at + 1}` }, ...shapes[at]));
  const drawing = svg(
    "svg",
    { class: "plot", preserveAspectRatio: "none", viewBox: `0 0 1190 ${HEIGHT}`, role: "img" },
    svg("path", { class: "gridline", d: `M0 ${HEIGHT / 2}H100000M0 2H100000` }),
    ...groups,
    cursor,
  );
  const figures = marks.map(() => el("span", { class: "figure" }, "–"));
  const when = el("span", { class: "when" }, "now");
  const top = el("span", { class: "axis-top" }, "1");
  const middle = el("span", { class: "axis-middle" }, "");
  const from = el("span", {}, "");
  const legend = el(
    "div",
    { class: "legend" },
    ...marks.map(({ name, kind }, at) =>
      el("span", { class: `legend-item mark-${at + 1}` },
        el("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), el("span", {}, name), figures[at]),
    ),
    when,
  );
  const node = el(
    "figure",
    { class: "panel chart" },
    el("figcaption", {}, el("h3", {}, title), legend),
    el("div", { class: "plot-box" }, drawing, top, middle, el("span", { class: "axis-zero" }, "0")),
    el("div", { class: "axis-x", "aria-hidden": "true" }, from, el("span", {}, "now")),
  );

  let shown = null;
  let pointed = null;

  function tell() {
    if (shown === null) return;
    const length = shown.lists[0].length;
    const at = pointed === null ? length - 1 : Math.min(length - 1, Math.round(pointed * (length - 1)));
    const seconds = (length - 1 - at) * shown.stepSeconds;
    marks.forEach((mark, which) => setText(figures[which], rate(shown.lists[which][at] ?? 0)));
    setText(when, pointed === null || seconds === 0 ? "now" : `${seconds} s ago`);
    setAttribute(cursor, "x1", pointed === null ? -9 : at * STEP);
    setAttribute(cursor, "x2", pointed === null ? -9 : at * STEP);
  }

  drawing.addEventListener("pointermove", (event) => {
    pointed = Math.min(1, Math.max(0, event.offsetX / Math.max(1, drawing.clientWidth)));
    tell();
  });
  drawing.addEventListener("pointerleave", () => {
    pointed = null;
    tell();
  });

  // lists: figures for each mark, oldest first.
  function update(lists, stepSeconds) {
    shown = { lists, stepSeconds };
    const length = Math.max(2, lists[0].length);
    const bound = nice(Math.max(0, ...lists.flat()));
    setAttribute(drawing, "viewBox", `0 0 ${(length - 1) * STEP} ${HEIGHT}`);
    marks.forEach(({ kind }, which) => {
      const [first, second] = shapes[which];
      if (kind === "bars") setAttribute(first, "d", barsPath(lists[which], bound));
      else {
        const line = linePath(lists[which], bound);
        setAttribute(second ?? first, "d", line);
        if (second) setAttribute(first, "d", `${line}V${HEIGHT}H0Z`);
      }
    });
    setText(top, rate(bound));
    setText(middle, bound >= 2 || bound < 1 ? rate(bound / 2) : "0.5");
    setText(from, `${span(length * stepSeconds)} ago`);
    const said = marks.map(({ name }, which) => {
      const list = lists[which];
      return `${name} now ${rate(list.at(-1) ?? 0)}, at most ${rate(Math.max(0, ...list))}`;
    });
    setAttribute(drawing, "aria-label", `${title}, ${unit}, the last two minutes: ${said.join("; ")}.`);
    tell();
  }

  return { node, update };
}

const y = (value, bound) => (HEIGHT - (Math.max(0, value) / bound) * (HEIGHT - 4)).toFixed(1);

function linePath(list, bound) {
  return `M${list.map((value, at) => `${at * STEP} ${y(value, bound)}`).join("L")}`;
}

function barsPath(list, bound) {
  return list
    .map((value, at) => (value > 0 ? `M${at * STEP} ${HEIGHT}V${Math.min(y(value, bound), HEIGHT - 3)}` : ""))
    .join("");
}

// How something is distributed: bars of buckets, and where the percentiles fall.
export function distribution({ title }) {
  const drawing = svg("svg", { class: "plot", preserveAspectRatio: "none", role: "img" });
  const quantiles = ["p50", "p90", "p99"].map((name) => ({
    name,
    figure: el("span", { class: "figure" }, "–"),
    line: svg("line", { class: `quantile ${name}`, y1: 0, y2: HEIGHT, x1: -9, x2: -9 }),
  }));
  const bars = svg("g", { class: "mark-1" });
  drawing.append(svg("path", { class: "gridline", d: `M0 ${HEIGHT / 2}H100000M0 2H100000` }), bars);
  drawing.append(...quantiles.map(({ line }) => line));
  const labels = el("div", { class: "axis-buckets", "aria-hidden": "true" });
  const total = el("span", { class: "when" }, "");
  const node = el(
    "figure",
    { class: "panel chart distribution" },
    el("figcaption", {}, el("h3", {}, title),
      el("div", { class: "legend" },
        ...quantiles.map(({ name, figure }) => el("span", { class: `legend-item ${name}` },
          el("span", { class: "swatch quantile", "aria-hidden": "true" }), el("span", {}, name), figure)),
        total)),
    el("div", { class: "plot-box" }, drawing),
    labels,
  );
  let made = 0;

  function build(buckets) {
    made = buckets.length;
    bars.replaceChildren(...buckets.map((bucket, at) =>
      svg("rect", { x: at * STEP + 1, width: STEP - 2, y: HEIGHT, height: 0, rx: 0.8 })));
    setAttribute(drawing, "viewBox", `0 0 ${made * STEP} ${HEIGHT}`);
    const every = Math.ceil(made / 7);
    labels.replaceChildren(...buckets.map(([upper], at) => {
      const words = upper === "inf" ? "more" : milliseconds(upper);
      return el("span", {}, (made - 1 - at) % every === 0 ? words : "");
    }));
  }

  function update(latency) {
    const buckets = latency?.buckets ?? [];
    if (buckets.length !== made) build(buckets);
    const most = Math.max(1, ...buckets.map(([, number]) => number));
    buckets.forEach(([, number], at) => {
      const height = number > 0 ? Math.max(1.5, (number / most) * (HEIGHT - 6)) : 0;
      setAttribute(bars.children[at], "height", height.toFixed(1));
      setAttribute(bars.children[at], "y", (HEIGHT - height).toFixed(1));
    });
    const number = buckets.reduce((sum, [, each]) => sum + each, 0);
    for (const { name, figure, line } of quantiles) {
      const value = number > 0 ? latency[name] : undefined;
      setText(figure, milliseconds(value));
      const x = value === undefined || value === null ? -9 : place(buckets, value) * STEP;
      setAttribute(line, "x1", x.toFixed(1));
      setAttribute(line, "x2", x.toFixed(1));
    }
    setText(total, number > 0 ? `of ${count(number)}` : "nothing yet");
    const said = quantiles.map(({ name, figure }) => `${name} ${figure.textContent}`).join(", ");
    setAttribute(drawing, "aria-label", `${title}, the last five minutes: ${number > 0 ? said : "nothing yet"}.`);
  }

  return { node, update };
}

// Where a value lies on the axis of buckets, in buckets.
function place(buckets, value) {
  let lower = 0;
  for (const [at, [upper]] of buckets.entries()) {
    if (upper === "inf") return at + 0.5;
    if (value <= upper) return at + (value - lower) / (upper - lower);
    lower = upper;
  }
  return buckets.length;
}

// A bar that fills, with its figure in words for whoever can't see it. The width is a custom property.
export function meter(label) {
  const node = el("div", { class: "meter", role: "meter", "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-label": label }, el("span", {}));
  return {
    node,
    update(fraction, words) {
      const value = Math.round(Math.min(1, Math.max(0, fraction)) * 1000) / 10;
      setVariable(node, "--fraction", value / 100);
      setAttribute(node, "aria-valuenow", value);
      setAttribute(node, "aria-valuetext", words);
    },
  };
}
