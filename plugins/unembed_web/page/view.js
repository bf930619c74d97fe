// A search on the page: the best so far, its figures, its curve and its steps.

import { curve } from "./chart.js";
import { at, element, number, similarity, sure } from "./dom.js";

const VERDICTS = {
  unlike: "unlike any embedding of this model",
  longer: "probably of a longer input",
  unseen: "with what the embedder can't see",
};
const STOPPED = { solved: "solved", stalled: "no gain for a while", budget: "out of queries", steps: "out of steps" };

/** An object as it is shown: a text in pieces, the new ones marked, or a picture. */
function shown(one, name = "reconstruction") {
  if (one.picture) return element("img", { src: one.picture, alt: name });
  return element("span", { class: "text" }, ...(one.parts ?? [[false, one.text]]).map(
    ([fresh, piece]) => (fresh && piece.trim() ? element("ins", {}, piece) : piece)));
}

export class View {
  begin() {
    this.steps = [];
    this.asked = null;
    at("steps").replaceChildren();
    at("best").replaceChildren();
    at("curve").replaceChildren();
    at("figures").replaceChildren();
    at("found").hidden = true;
  }

  started(what) {
    this.asked = what;
  }

  step(what) {
    this.steps.push(what);
    at("found").hidden = false;
    at("marked").hidden = what.parts === null;
    this._best(what, null);
    this._figures(what.number, what);
    this._curve();
    at("steps").append(this._line(what));
  }

  result(what) {
    at("found").hidden = false;
    this._best({ ...what, parts: [[false, what.text]] }, badge(what));
    this._figures(what.steps, what);
    const verdict = what.verdict === null ? "" : `; ${VERDICTS[what.verdict] ?? what.verdict}`;
    return `Done in ${what.seconds.toFixed(1)} s: ${STOPPED[what.stopped] ?? what.stopped}${verdict}`;
  }

  _best(one, mark) {
    const original = this.asked?.original;
    if (one.picture) {
      at("best").replaceChildren(element("div", { class: "pair" },
        original && element("figure", {}, element("img", { src: original.picture, alt: "original" }),
          element("figcaption", {}, "original, as the model sees it")),
        element("figure", {}, element("img", { src: one.picture, alt: "reconstruction" }),
          element("figcaption", {}, "reconstruction"))), mark ?? "");
      return;
    }
    at("best").replaceChildren(
      original ? element("p", { class: "original" }, "from ", element("q", {}, original.text)) : "",
      element("p", { class: "text" }, ...shown(one).childNodes), mark ?? "");
  }

  _figures(step, what) {
    const rows = [["Similarity", similarity(what.similarity)], ["Step", `${step}`], ["Queries", number(what.queries)],
      ["Confidence", what.confidence == null ? "–" : sure(what.confidence)]];
    at("figures").replaceChildren(...rows.map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", { "data-figure": name.toLowerCase() }, value))));
  }

  _curve() {
    const made = curve(this.steps, at("curve").clientWidth);
    at("curve").replaceChildren(...(made ? [made] : []));
  }

  _line(what) {
    const gain = what.gain ? what.move : "no gain";
    return element("li", {}, element("details", {},
      element("summary", {},
        element("span", { class: "number" }, String(what.number)), shown(what, `step ${what.number}`),
        element("span", { class: "told" }, element("span", { class: "tag" }, gain),
          ` ${similarity(what.similarity)} · ${number(what.queries)} queries`)),
      element("ol", { class: "proposals" }, ...what.proposals.map((one) => element("li", {},
        element("span", { class: "n" }, similarity(one.similarity)),
        element("span", {}, element("span", {
          class: "tag", title: one.parent ? `made from a candidate of similarity ${similarity(one.parent_similarity)}` : "a first guess",
        }, one.move)),
        shown(one, "proposal"))))));
  }
}

function badge(what) {
  if (what.exact === true) return element("span", { class: "badge exact" }, "✓ exact");
  if (what.exact === false) return element("span", { class: "badge" }, "not exact");
  if (what.confidence == null) return null;
  return element("span", { class: what.confidence >= 0.95 ? "badge exact" : "badge" },
    `exact with probability ${sure(what.confidence)}`);
}
