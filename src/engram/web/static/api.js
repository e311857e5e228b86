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

class Silent extends Error {}

export async function request(path, options = {}) {
  const headers = { "X-Engram-Token": token(), ...(options.headers || {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new Silent("The server does not answer. Is engram serve still running?");
  }
  if (!answer.ok) {
    throw new Error(await refusal(answer));
  }
  return answer;
}

// What went wrong, in the server's words.
async function refusal(answer) {
  if (answer.status === 401) {
    return "The server does not take this page's token: it was started anew, or the token is missing. Open the address that engram serve has printed.";
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
// `onProgress({done, total, says})` is called on the way; `signal` (of an AbortController) cancels; `onJob(id)` is told
// by which name the work can be followed again.
export async function work(view, model, given, onProgress = () => {}, signal = undefined, onJob = () => {}) {
  const { job } = await post("/api/jobs", { view, model, given });
  onJob(job);
  return follow(job, onProgress, signal);
}

// Listen to work that was begun, also by a page that was closed meanwhile.
export async function follow(job, onProgress = () => {}, signal = undefined) {
  const cancelling = () => cancel(job);
  if (signal) {
    signal.addEventListener("abort", cancelling, { once: true });
    if (signal.aborted) {
      cancelling();
    }
  }
  try {
    return await listen(`/api/jobs/${encodeURIComponent(job)}/events`, onProgress);
  } finally {
    if (signal) {
      signal.removeEventListener("abort", cancelling);
    }
  }
}

export const cancel = (job) => request(`/api/jobs/${encodeURIComponent(job)}`, { method: "DELETE" }).catch(() => {});

const PATIENCE = 30; // tries in a row, a second apart, to hear again of a server that went silent
const AWAY = "The server does not answer; trying again …";

// What is said of a job, to its end. A line that broke is taken up again: the server tells the latest anew.
async function listen(path, onProgress) {
  for (let left = PATIENCE; ; left -= 1) {
    try {
      const end = await heard(path, (now) => {
        left = PATIENCE;
        onProgress(now);
      });
      if (end) {
        return end.data;
      }
    } catch (error) {
      if (!(error instanceof Silent) || left <= 1) {
        throw error;
      }
    }
    if (left <= 1) {
      throw new Error("The server went away before it was done.");
    }
    onProgress({ done: 0, total: 0, says: AWAY });
    await new Promise((done) => setTimeout(done, 1000));
  }
}

// Server-sent events, read by fetch: EventSource cannot send the header with the token. null: the line broke.
async function heard(path, onProgress) {
  const answer = await request(path);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read().catch(() => ({ done: true }));
    if (done) {
      return null;
    }
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const event = parsed(part);
      if (event.name === "progress") {
        onProgress(event.data);
      } else if (event.name === "result") {
        return event;
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
