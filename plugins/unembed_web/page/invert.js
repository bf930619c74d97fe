// The first tab: what is to be inverted, by which inverter, and the search.

import { events, get, post, send } from "./asking.js";
import { at, element, number } from "./dom.js";
import { View } from "./view.js";

const PICTURES = /\.(bmp|gif|jpe?g|png|ppm|tiff?|webp)$/i;
const MOST = 32 * 2 ** 20;
const view = new View();
let state = { inverters: [] };
let dropped = null; // {picture, file} or {vectors, …}
let running = null; // an AbortController

export async function begin(first) {
  at("ask").addEventListener("submit", (event) => { event.preventDefault(); invert(); });
  at("cancel").addEventListener("click", () => running?.abort());
  at("inverter").addEventListener("change", chosen);
  at("file").addEventListener("change", (event) => { take(event.target.files[0]); event.target.value = ""; });
  at("input").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); at("ask").requestSubmit(); }
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && running) running.abort(); });
  for (const one of document.querySelectorAll(".try")) {
    one.addEventListener("click", () => { drop(null); at("input").value = one.textContent; at("ask").requestSubmit(); });
  }
  dropping();
  know(first);
  at("inverter").value = state.first;
  await watchState();
}

const current = () => state.inverters.find((one) => one.name === at("inverter").value);

function know(told) {
  state = told;
  const was = at("inverter").value;
  const options = state.inverters.map((one) => element("option", { value: one.name, disabled: one.missing !== null }, one.name));
  if (at("inverter").options.length !== options.length) at("inverter").replaceChildren(...options);
  if (was) at("inverter").value = was;
}

/** Ask how far the inverter is, until it is ready. */
async function watchState() {
  for (;;) {
    about();
    if (running || !["unopened", "opening"].includes(current()?.state)) return;
    await new Promise((done) => setTimeout(done, 700));
    try {
      know(await get("/api/state"));
    } catch (error) {
      return wrong(error.message);
    }
  }
}

async function chosen() {
  about();
  try {
    if (current()?.state === "unopened") await post("/api/open", { inverter: current().name });
    await watchState();
  } catch (error) {
    wrong(error.message);
  }
}

/** What is known of the chosen inverter, and its efforts. */
function about() {
  const one = current();
  if (!one) return;
  const how = { unopened: "being opened …", opening: "being opened …", ready: "ready" }[one.state] ?? one.state;
  at("about").textContent = [one.summary, how].filter(Boolean).join(" · ");
  at("about").dataset.state = one.state;
  at("input").placeholder = one.picture
    ? "Drop an image here, or a file of vectors; or paste a vector"
    : "Type a text to embed and invert, paste a vector, or drop a file of vectors here";
  at("hello").hidden ||= one.modality !== null && one.modality !== "text";
  const was = at("effort").value || one.effort;
  const names = one.efforts.map((name) => element("option", { value: name }, name));
  if ([...at("effort").options].map((option) => option.value).join() !== one.efforts.join()) {
    at("effort").replaceChildren(...names);
    at("effort").value = one.efforts.includes(was) ? was : one.effort;
  }
}

function dropping() {
  const well = at("well");
  let inside = 0;
  const over = (on) => well.classList.toggle("over", on);
  window.addEventListener("dragenter", (event) => { event.preventDefault(); inside += 1; over(true); });
  window.addEventListener("dragleave", () => { inside -= 1; if (inside <= 0) { inside = 0; over(false); } });
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    over(false);
    const file = event.dataTransfer.files[0];
    const text = event.dataTransfer.getData("text/plain");
    if (file) take(file);
    else if (text) { drop(null); at("input").value = text; }
  });
  at("input").addEventListener("paste", (event) => {
    const file = event.clipboardData.files[0];
    if (file) { event.preventDefault(); take(file); }
  });
}

/** A file: a picture stays here until it is asked about, vectors are read by the server. */
async function take(file) {
  if (!file) return;
  wrong(null);
  if (file.size > MOST) return wrong(`${file.name} has more than ${MOST / 2 ** 20} MB, which is the most that this page takes`);
  if (PICTURES.test(file.name)) return drop({ picture: await base64(file), name: file.name, type: file.type });
  said(`Reading ${file.name} …`);
  try {
    drop(await send(`/api/vectors?name=${encodeURIComponent(file.name)}`, file));
    said("");
  } catch (error) {
    said("");
    wrong(error.message);
  }
}

async function base64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let place = 0; place < bytes.length; place += 0x8000) text += String.fromCharCode(...bytes.subarray(place, place + 0x8000));
  return btoa(text);
}

/** Show what was dropped in place of the text, or the text again. */
function drop(what) {
  dropped = what;
  at("dropped").hidden = what === null;
  at("input").hidden = what !== null;
  if (what === null) return at("dropped").replaceChildren();
  const away = element("button", { type: "button", class: "button", onclick: () => { drop(null); at("input").focus(); } }, "Remove");
  if (what.picture) {
    const picture = element("img", { src: `data:${what.type || "image/png"};base64,${what.picture}`, alt: "" });
    return at("dropped").replaceChildren(picture, element("span", { class: "name" }, what.name), away);
  }
  const many = what.count === null ? "" : `${number(what.count)} vector${what.count === 1 ? "" : "s"}, `;
  const pick = element("input", { type: "number", id: "which", min: 1, max: what.vectors.length, value: 1 });
  const named = element("span", { class: "soft mono" }, "");
  const label = () => { named.textContent = what.ids[pick.value - 1] === String(pick.value - 1) ? "" : what.ids[pick.value - 1] ?? ""; };
  pick.addEventListener("input", label);
  label();
  const choice = what.vectors.length > 1 && element("label", {}, "row ", pick,
    what.count > what.vectors.length ? ` of the first ${what.vectors.length}` : ` of ${what.vectors.length}`);
  at("dropped").replaceChildren(...[element("span", { class: "name" }, what.name),
    element("span", { class: "soft" }, `${many}${what.width} wide · ${what.kind}`), choice, named, away,
    what.notes.length > 0 && element("span", { class: "soft notes" }, what.notes.join(" · "))].filter(Boolean));
}

function asked() {
  const given = { inverter: at("inverter").value, effort: at("effort").value };
  if (dropped === null) return { ...given, text: at("input").value };
  if (dropped.picture) return { ...given, picture: dropped.picture };
  const row = Number(at("which")?.value ?? 1);
  if (!(row >= 1 && row <= dropped.vectors.length)) throw new Error(`choose a row from 1 to ${dropped.vectors.length}`);
  return { ...given, vector: dropped.vectors[row - 1] };
}

async function invert() {
  if (running) return;
  wrong(null);
  running = new AbortController();
  busy(true);
  at("hello").hidden = true;
  view.begin();
  said("…");
  let ended = false;
  try {
    for await (const [kind, what] of events(asked(), running.signal)) {
      if (kind === "waiting") said(`Waiting: ${what.before} before you`);
      if (kind === "opening") said(`Opening ${what.inverter} …`);
      if (kind === "started") { view.started(what); said("Searching …"); }
      if (kind === "step") { view.step(what); said(`Searching: step ${what.number} of at most ${view.asked.steps}`); }
      if (kind === "result") { said(view.result(what)); ended = true; }
      if (kind === "cancelled") { said("Cancelled"); ended = true; }
      if (kind === "failed") { said(""); wrong(what.message); ended = true; }
    }
    if (!ended) throw new Error("the search ended early: is `unembed web` still running?");
  } catch (error) {
    if (error.name === "AbortError") said("Cancelled");
    else { said(""); wrong(error.message.includes("network") ? "the server has gone: start `unembed web` again" : error.message); }
  } finally {
    running = null;
    busy(false);
    watchState();
  }
}

/** Show the button that now does something; who was on the other one is moved to it. */
function busy(on) {
  const [from, to] = on ? [at("go"), at("cancel")] : [at("cancel"), at("go")];
  const there = document.activeElement === from;
  from.hidden = true;
  to.hidden = false;
  if (there) to.focus({ preventScroll: true });
}

function said(text) { at("status").textContent = text; }

function wrong(text) {
  at("error").hidden = text === null;
  at("error").textContent = text ?? "";
}
