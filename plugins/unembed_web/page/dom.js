// Elements without markup: whatever a text holds, it is set as text and stays one.

export const at = (id) => document.getElementById(id);

/** An element with attributes and children, which are elements or texts; null and false are left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

export function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const number = (value) => value.toLocaleString("en").replaceAll(",", "\u202f");

/** A similarity with as many digits as tell it from 1, rounded down: only what is 1 looks like it. */
export function similarity(value) {
  if (value === null) return "–";
  for (const digits of [4, 5, 6]) {
    const cut = Math.floor(value * 10 ** digits + 1e-6) / 10 ** digits;
    if (cut < 1 && digits === 4) return cut.toFixed(4);
    if (cut < 1) return cut.toFixed(digits);
  }
  return "1.0000";
}

/** To three digits, rounded down: no sample shows certainty. */
export const sure = (value) => (Math.floor(1000 * value) / 1000).toFixed(3);
