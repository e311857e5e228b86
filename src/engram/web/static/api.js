// What the page asks of the server: jobs with their progress, models, runs.

const TOKEN = "engram-token";

export function token() {
  const address = new URL(location.href);
  const given = address.searchParams.get("token");
  if (given) {
    sessionStorage.setItem(TOKEN, given);
    address.searchParams.delete("token");
    history.replaceState(null, "", address);
  }
  return sessionStorage.getItem(TOKEN) || "";
}

export async function request(path, options = {}) {
  const headers = { "X-Engram-Token": token(), ...(options.headers || {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new Error("The server does not answer. Is engram serve still running?");
  }
  if (!answer.ok) {
    throw new Error(await refusal(answer));
  }
  return answer;
}

// What went wrong, in the server's words.
async function refusal(answer) {
  if (answer.status === 401) {
    return "This address has no valid token. Open the address that engram serve has printed.";
  }
  try {
    const said = await answer.json();
    return said.message || `The server answered ${answer.status}.`;
  } catch {
    return `The server answered ${answer.status}.`;
  }
}

export const get = async (path) => (await request(path)).json();

export const post = async (path, body) =>
  (
    await request(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    })
  ).json();

// Ask a view. Resolves to its result, which has `python`; rejects with an Error in words.
// `onProgress({done, total})` is called on the way; `signal` (of an AbortController) cancels.
export async function work(view, model, given, onProgress = () => {}, signal = undefined) {
  const { job } = await post("/api/jobs", { view, model, given });
  const cancelling = () => cancel(job);
  if (signal) {
    signal.addEventListener("abort", cancelling, { once: true });
    if (signal.aborted) {
      cancelling();
    }
  }
  try {
    return await listen(`/api/jobs/${job}/events`, onProgress);
  } finally {
    if (signal) {
      signal.removeEventListener("abort", cancelling);
    }
  }
}

export const cancel = (job) => request(`/api/jobs/${job}`, { method: "DELETE" }).catch(() => {});

// Server-sent events, read by fetch: EventSource cannot send the header with the token.
async function listen(path, onProgress) {
  const answer = await request(path);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      throw new Error("The server went away before it was done.");
    }
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const event = parsed(part);
      if (event.name === "progress") {
        onProgress(event.data);
      } else if (event.name === "result") {
        return event.data;
      } else if (event.name === "error") {
        throw new Error(event.data.message);
      }
    }
  }
}

function parsed(text) {
  const lines = text.split("\n");
  const of = (key) =>
    lines.filter((line) => line.startsWith(`${key}: `)).map((line) => line.slice(key.length + 2)).join("\n");
  const data = of("data");
  return { name: of("event"), data: data ? JSON.parse(data) : null };
}
