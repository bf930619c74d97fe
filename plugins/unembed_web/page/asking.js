// What is asked of the server. Whatever goes wrong comes as an Error whose message is one line.

async function checked(answer) {
  if (answer.ok) return answer;
  let told = `the server answered ${answer.status}`;
  try {
    told = (await answer.json()).error ?? told;
  } catch { /* no JSON: the number has to do */ }
  throw new Error(told);
}

async function asked(path, options) {
  try {
    return await checked(await fetch(path, options));
  } catch (error) {
    if (error instanceof TypeError) throw new Error("the server can't be reached: is `unembed web` still running?");
    throw error;
  }
}

const JSON_HEADERS = { "Content-Type": "application/json" };

export const get = async (path) => (await asked(path)).json();

export const post = async (path, given, signal) =>
  asked(path, { method: "POST", headers: JSON_HEADERS, body: JSON.stringify(given), signal });

export const send = async (path, file) =>
  (await asked(path, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file })).json();

/** The events of a search, one after the other: [kind, what]. It ends when the search does. */
export async function* events(given, signal) {
  const answer = await post("/api/invert", given, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    const blocks = held.split("\n\n");
    held = blocks.pop();
    for (const block of blocks) {
      const [kind, what] = block.split("\ndata: ");
      yield [kind.slice("event: ".length), JSON.parse(what)];
    }
  }
}
