// The similarity of the best candidate, step by step.

import { drawn, similarity } from "./dom.js";

const HEIGHT = 200, LEFT = 46, RIGHT = 14, TOP = 12, BOTTOM = 30;

/** The curve of `steps`, each with `number`, `similarity` and `gain`, as an SVG that says the same in words.
 *
 * It is drawn for `room` pixels, so that its letters stay as large as those around it. */
export function curve(steps, room) {
  const WIDTH = Math.min(Math.max(room, 260), 640);
  const known = steps.filter((step) => step.similarity !== null);
  if (known.length === 0) return null;
  const values = known.map((step) => step.similarity);
  const last = Math.max(4, known.at(-1).number);
  const low = floor(Math.min(...values));
  const x = (number) => LEFT + (number / last) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((1 - value) / (1 - low)) * (HEIGHT - TOP - BOTTOM);
  const points = known.map((step) => [x(step.number), y(step.similarity)]);
  const told = `Similarity by step: ${known.map((step) => `${step.number}: ${similarity(step.similarity)}`).join(", ")}`;
  return drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": told },
    ...[1, (1 + low) / 2, low].flatMap((value) => [
      drawn("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      drawn("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, short(value)),
    ]),
    ...ticks(last).map((number) => drawn("text", { x: x(number), y: HEIGHT - 10, "text-anchor": "middle" }, String(number))),
    drawn("text", { x: LEFT - 14, y: HEIGHT - 10, "text-anchor": "end" }, "step"),
    drawn("polyline", { class: "curve", points: points.map((point) => point.map((one) => one.toFixed(1)).join(",")).join(" ") }),
    ...known.map((step, place) => drawn("circle", {
      cx: points[place][0], cy: points[place][1], r: step.gain ? 4 : 3, class: step.gain ? "" : "still",
    })),
  );
}

/** A round number at or below the lowest similarity. */
function floor(lowest) {
  for (const size of [0.01, 0.05, 0.1, 0.2, 0.5, 1]) if (1 - lowest <= size) return 1 - size;
  return -1;
}

const short = (value) => String(Math.round(value * 1000) / 1000);

function ticks(last) {
  const every = [1, 2, 5, 10, 20, 50].find((size) => last / size <= 8) ?? 100;
  return Array.from({ length: Math.floor(last / every) + 1 }, (_, place) => place * every);
}
