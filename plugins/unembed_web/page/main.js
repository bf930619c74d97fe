// The tabs, and what stands behind each.

import { get } from "./asking.js";
import * as audits from "./audits.js";
import { at } from "./dom.js";
import * as invert from "./invert.js";

const TABS = ["invert", "audits"];

function open(name, focus = false) {
  for (const one of TABS) {
    const chosen = one === name;
    at(one).hidden = !chosen;
    at(`tab-${one}`).setAttribute("aria-selected", String(chosen));
    at(`tab-${one}`).tabIndex = chosen ? 0 : -1;
  }
  if (focus) at(`tab-${name}`).focus();
  history.replaceState(null, "", name === TABS[0] ? "/" : `/#${name}`);
}

for (const [place, name] of TABS.entries()) {
  at(`tab-${name}`).addEventListener("click", () => open(name));
  at(`tab-${name}`).addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) open(TABS[(place + by + TABS.length) % TABS.length], true);
  });
}
open(TABS.includes(location.hash.slice(1)) ? location.hash.slice(1) : TABS[0]);

try {
  const state = await get("/api/state");
  await Promise.all([invert.begin(state), audits.begin(state.audits)]);
} catch (error) {
  at("error").hidden = false;
  at("error").textContent = error.message;
}
