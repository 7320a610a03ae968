// Sizes, times and counts as the report says them, and making elements.

const three = (value) => value === 0 || value >= 99.95 ? Math.round(value).toLocaleString("en")
  : value.toFixed(value >= 9.995 ? 1 : 2);

function bytes(value) {
  if (value === null || value === undefined) return "not known";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let at = 0;
  while (value >= 1023.5 && at < units.length - 1) { value /= 1024; at++; }
  return at === 0 ? `${value} B` : `${three(value)} ${units[at]}`;
}

function duration(ns) {
  if (ns === null || ns === undefined) return "not known";
  if (ns === 0) return "0 s";
  const units = [[86400e9, "d"], [3600e9, "h"], [60e9, "min"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];
  const [size, sign] = units.find(([size]) => ns >= size * (size >= 60e9 ? 2 : 1)) ?? units.at(-1);
  return `${three(ns / size)} ${sign}`;
}

const count = (value) => value === null || value === undefined ? "not known" : value.toLocaleString("en");
const percent = (share) => share > 0 && share < 0.01 ? "under 1 %"
  : share > 0.99 && share < 1 ? "over 99 %" : `${Math.round(share * 100)} %`;
const hex = (address) => `0x${address.toString(16)}`;
const byId = (id) => document.getElementById(id);

// An element with attributes (functions are listeners) and children.
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (key === "class") made.className = value;
    else if (value !== undefined && value !== null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Text as nodes that may be broken behind the parts of names and paths, and reads as before.
const breakable = (text, behind = /(?<=::|\/)/) =>
  text.split(behind).flatMap((part, at) => at === 0 ? [part] : [element("wbr"), part]);
const IN_NARROW = /(?<=::|[/_])/;
