// The second tab: audits that the command was given, and their records, masked until somebody asks.

import { get } from "./asking.js";
import { at, element, number, similarity, sure } from "./dom.js";

const PAGE = 50;
const kinds = (findings) => {
  const counts = new Map();
  for (const one of findings ?? []) counts.set(one.kind, (counts.get(one.kind) ?? 0) + 1);
  return [...counts];
};

export async function begin(names) {
  const room = at("audits");
  if (names.length === 0) {
    return room.replaceChildren(
      element("p", {}, "No audit is open. Audit a store, and name the folder of its report when you start the page:"),
      element("pre", {}, "unembed audit STORE --out audit-of-my-store\nunembed web audit-of-my-store"));
  }
  const body = element("div");
  const open = async (place) => {
    try {
      await new Audit(place, body).begin();
    } catch (error) {
      body.replaceChildren(element("p", { class: "error", role: "alert" }, error.message));
    }
  };
  const choice = element("select", { id: "audit", onchange: (event) => open(Number(event.target.value)) },
    ...names.map((one, place) => element("option", { value: place }, one.name)));
  room.replaceChildren(names.length > 1 ? element("label", { class: "field" }, "Audit", choice) : "", body);
  await open(0);
}

const percent = (share) => (share === null || share === undefined ? "not known"
  : `${(100 * share).toFixed(share === 0 || share >= 0.095 ? 0 : 1)} %`);

class Audit {
  constructor(place, body) {
    Object.assign(this, { place, body, start: 0, show: false, found: false });
  }

  async begin() {
    this.figures = await get(`/api/audits/${this.place}`);
    this.found = this.figures.with_findings > 0;
    this.list = element("div");
    this.body.replaceChildren(...this.head(), this.controls(), this.list);
    await this.records();
  }

  head() {
    const report = this.figures.report;
    if (report === null) {
      return [element("p", { class: "soft" }, `No report yet: ${number(this.figures.records)} records so far.`)];
    }
    const { conditions, overall, store } = report;
    const card = (name, value, more = "") => element("div", {}, element("span", { class: "soft" }, name), element("b", {}, value),
      element("span", { class: "soft" }, more));
    const range = (one) => (one.share === null || one.low === one.high ? "" : `${percent(one.low)} to ${percent(one.high)}`);
    return [
      element("h2", {}, conditions.place),
      element("p", { class: "soft" }, [conditions.when, conditions.kind, `inverter ${conditions.inverter}, effort ${conditions.effort}`].join(" · ")),
      !report.complete && element("p", { class: "error" }, `This audit ended early: its figures hold for ${number(report.rows)} records.`),
      element("div", { class: "cards" },
        card("Records that gave something away", percent(overall.disclosed.share), range(overall.disclosed)),
        card("Texts recovered exactly", percent(overall.exact.share), range(overall.exact)),
        overall.words !== null && card("Words recovered", percent(overall.words)),
        store.deleted > 0 && card("Deleted, still in the store", number(store.deleted))),
      report.by_kind.length > 0 && element("p", { class: "row" }, ...report.by_kind.map(
        (kind) => element("span", { class: "tag" }, `${number(kind.found)} × ${kind.label}`))),
    ].filter(Boolean);
  }

  controls() {
    const box = (id, text, on, change) => element("label", {}, element("input", { type: "checkbox", id, checked: on, onchange: change }), text);
    const again = (change) => (event) => { change(event.target.checked); this.start = 0; this.records(); };
    return element("div", { class: "row" },
      box("with-findings", "only records with findings", this.found, again((on) => { this.found = on; })),
      this.figures.shown ? box("show-texts", "show texts", this.show, again((on) => { this.show = on; }))
        : element("span", { class: "soft" }, "The audit masked its records; only --show-text writes them in full."));
  }

  async records() {
    const asked = new URLSearchParams({ start: this.start, count: PAGE, found: Number(this.found), show: Number(this.show) });
    try {
      this.listed(await get(`/api/audits/${this.place}/records?${asked}`));
    } catch (error) {
      this.list.replaceChildren(element("p", { class: "error", role: "alert" }, error.message));
    }
  }

  listed({ start, total, rows }) {
    const turn = (text, to) => element("button", {
      type: "button", class: "button", disabled: to < 0 || to >= total, onclick: () => { this.start = to; this.records(); },
    }, text);
    const last = Math.min(total, start + rows.length);
    this.list.replaceChildren(
      element("table", { id: "records" },
        element("thead", {}, element("tr", {}, ...["Record", "Recovered text", "Findings"].map((name) => element("th", { scope: "col" }, name)),
          element("th", { scope: "col", class: "n" }, "Similarity"), element("th", { scope: "col", class: "n" }, "Certainty"))),
        element("tbody", {}, ...rows.map((row) => line(row, this.figures.shown && !this.show)))),
      element("p", { class: "row" }, element("span", { class: "soft" }, total ? `${number(start + 1)} to ${number(last)} of ${number(total)}` : "no records"),
        ...(total > PAGE ? [turn("Back", start - PAGE), turn("Next", start + PAGE)] : [])));
  }
}

function line(row, masked) {
  return element("tr", {},
    element("td", {}, String(row.id), row.deleted && " ", row.deleted && element("span", { class: "tag" }, "deleted"),
      row.collection && element("div", { class: "soft" }, row.collection)),
    element("td", { class: masked ? "text mono masked" : "text mono" }, row.text ?? ""),
    element("td", {}, ...kinds(row.findings).flatMap(
      ([kind, count]) => [element("span", { class: "tag" }, count > 1 ? `${count} × ${kind}` : kind), " "])),
    element("td", { class: "n", "data-name": "similarity" }, similarity(row.similarity ?? null)),
    element("td", { class: "n", "data-name": "certainty" }, certainty(row)));
}

function certainty(row) {
  if (row.exact !== null) return row.exact ? "exact" : `${percent(row.words)} of words`;
  return row.confidence === null ? "not known" : sure(row.confidence);
}
