// Figures as a person reads them: short, with their unit, and never with more digits than they have worth.
// The page is written in English, so its figures are as well; times are the reader's own.

const DASH = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const clockTime = new Intl.DateTimeFormat("en", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const dayAndTime = new Intl.DateTimeFormat("en", {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  hourCycle: "h23",
});

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export function count(value) {
  if (!isNumber(value)) return DASH;
  return Math.abs(value) < 10000 ? whole.format(value) : compact.format(value);
}

// So many each second: small figures keep a digit behind the point.
export function rate(value) {
  if (!isNumber(value)) return DASH;
  if (value === 0) return "0";
  if (value < 0.1) return "<0.1";
  return value < 100 ? tenths.format(value) : count(Math.round(value));
}

export function percent(fraction) {
  if (!isNumber(fraction)) return DASH;
  const value = fraction * 100;
  if (value > 0 && value < 0.1) return "<0.1 %";
  return `${value < 10 ? tenths.format(value) : whole.format(value)} %`;
}

export function money(dollars) {
  if (!isNumber(dollars)) return DASH;
  if (dollars === 0) return "$0";
  if (dollars < 0.0001) return "<$0.0001";
  if (dollars < 0.1) return `$${dollars.toFixed(4)}`;
  return dollars < 1000 ? `$${dollars.toFixed(2)}` : `$${compact.format(dollars)}`;
}

export function milliseconds(value) {
  if (!isNumber(value)) return DASH;
  if (value > 0 && value < 1) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${whole.format(value)} ms`;
  const seconds = value / 1000;
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  return seconds < 120 ? `${seconds.toFixed(1)} s` : span(seconds);
}

// A time limit's or a window's length.
export function span(seconds) {
  if (!isNumber(seconds)) return DASH;
  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [length, unit] of units) {
    if (seconds >= length) {
      const value = seconds / length;
      return `${Number.isInteger(value) ? value : tenths.format(value)} ${unit}`;
    }
  }
  return `${seconds < 10 && !Number.isInteger(seconds) ? tenths.format(seconds) : whole.format(seconds)} s`;
}

export function bytes(value) {
  if (!isNumber(value)) return DASH;
  if (value < 1024) return `${value} B`;
  const kibi = value / 1024;
  return kibi < 1024 ? `${tenths.format(kibi)} KiB` : `${tenths.format(kibi / 1024)} MiB`;
}

export function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? DASH : clockTime.format(date);
}

export function moment(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? DASH : dayAndTime.format(date);
}

// How long before `now` a time was.
export function ago(time, now) {
  const seconds = (new Date(now) - new Date(time)) / 1000;
  if (!Number.isFinite(seconds)) return DASH;
  return seconds < 1.5 ? "just now" : `${span(Math.round(seconds))} ago`;
}

export function plural(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

// The first bound of 1, 2, 5, 10, 20, … that is no less: a chart's top.
export function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((candidate) => candidate * power >= value);
  return step * power;
}
