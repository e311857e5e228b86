// The page: its parts as tabs, its state in the address, the model and the edits that it is looked at under.

import * as api from "./api.js";
import * as ui from "./ui.js";

const { h } = ui;
const ORDER = ["ask", "neurons", "turn", "trace", "edit", "runs"];

// The state is the address: part, model, prompt, answer, subject, under, and what the parts add.
api.token();
const state = Object.fromEntries(new URLSearchParams(location.search));
let page = null;
let shown = null;
let inSight = { root: null, title: "" }; // the part that is shown
const running = new Set(); // what was asked and has not been answered; it goes on when its part is left

// Change the state, and with it the address. An empty value takes a name out.
function set(changes) {
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null || value === undefined) {
      delete state[name];
    } else {
      state[name] = String(value);
    }
  }
  history.replaceState(null, "", address(state));
}

const address = (of) => `${location.pathname}?${new URLSearchParams(of)}`;

const model = () => state.model || page.model;

// Ask a view of the model that the page is about (or of another). Goes on when the part is left, and is shown above.
// Or, where `job` is given, listen to work that was begun before.
async function work(view, given, onProgress = () => {}, signal = undefined, { of = model(), onJob = () => {}, job = "" } = {}) {
  const stop = new AbortController();
  const entry = { ...inSight, stop, job, says: "" };
  const told = (now) => {
    entry.says = now.says || (now.total ? `${now.done.toLocaleString("en")} of ${now.total.toLocaleString("en")}` : "");
    showRunning();
    onProgress(now);
  };
  const named = (id) => {
    entry.job = id;
    onJob(id);
  };
  const either = AbortSignal.any([stop.signal, ...(signal ? [signal] : [])]);
  running.add(entry);
  try {
    return await (job ? api.follow(job, told, either) : api.work(view, of, given, told, either, named));
  } finally {
    running.delete(entry);
    showRunning();
  }
}

// What goes on in parts that are not in sight, once each; where nothing does, nothing.
function showRunning() {
  const seen = new Set([...running].filter((one) => one.root.isConnected).map((one) => one.job));
  const away = [...running].filter((one) => !one.root.isConnected && !seen.has(one.job));
  const once = away.filter((one, i) => away.findIndex((other) => other.job === one.job) === i);
  const place = document.querySelector("#running");
  place.hidden = once.length === 0;
  once.forEach(tell);
  const lines = once.map((one) => one.line);
  if (lines.length !== place.childElementCount || lines.some((line, i) => line !== place.children[i])) {
    place.replaceChildren(...lines); // only where they are others: a button that is made anew cannot be pressed
  }
}

function tell(one) {
  one.words = one.words || h("span", {});
  one.line = one.line || h("span", { class: "kept" }, one.words,
    h("button", { type: "button", class: "small", "aria-label": `Cancel ${one.title}`, onclick: () => one.stop.abort() }, "Cancel"));
  one.words.textContent = `${one.title} goes on${one.says ? `: ${one.says}` : ""}`;
}

// The edits kept for this model have changed: show them. `show` is an id to look under from now on.
async function keptChanged(show = "") {
  if (show) {
    const now = (state.under || "").split(",").filter(Boolean);
    set({ under: [...new Set([...now, show])].join(",") });
  }
  await showKept();
}

// What a part is given. One that was left changes the address no more.
const tools = (root) => ({ state, set: (changes) => root.isConnected && set(changes), work, ui, api, model, keptChanged, page });

async function start() {
  const main = document.querySelector("main");
  try {
    page = await api.get("/api/page");
  } catch (error) {
    main.replaceChildren(h("p", { class: "status error", role: "alert" }, error.message));
    return;
  }
  document.querySelector("#version").textContent = `engram ${page.version}`;
  const parts = await Promise.all(
    ORDER.filter((name) => page.parts.includes(name)).map(async (name) => (await import(`./parts/${name}.js`)).default),
  );
  modelForm(page.models);
  tabs(parts);
  await showKept();
  show(parts.find((part) => part.name === state.part) || parts[0], parts);
  addEventListener("popstate", () => location.hash || location.reload()); // the link to the content is no step
}

function tabs(parts) {
  const follow = (part) => (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) {
      return;
    }
    event.preventDefault();
    history.pushState(null, "", address({ ...state, part: part.name }));
    show(part, parts);
  };
  const links = parts.map((part) => h("a", { href: "?", id: `tab-${part.name}`, onclick: follow(part) }, part.title));
  document.querySelector("#tabs").replaceChildren(...links);
}

function show(part, parts) {
  shown = () => show(part, parts);
  set({ part: part.name });
  document.title = `${part.title} · engram`;
  for (const other of parts) {
    const tab = document.querySelector(`#tab-${other.name}`);
    tab.href = address({ ...state, part: other.name });
    if (other === part) {
      tab.setAttribute("aria-current", "page");
    } else {
      tab.removeAttribute("aria-current");
    }
  }
  const root = h("div", { class: `part ${part.name}` }, h("h1", {}, part.title));
  document.querySelector("main").replaceChildren(root);
  inSight = { root, title: part.title };
  showRunning();
  const kept = document.querySelector("#kept");
  kept.hidden = kept.childElementCount < 2 || part.name === "runs";
  part.render(root, tools(root));
}

function modelForm(models) {
  const input = h("input", { id: "model", name: "model", value: model(), list: "models", maxlength: 300, autocomplete: "off", spellcheck: "false" });
  const list = h("datalist", { id: "models" }, models.map((name) => h("option", { value: name })));
  const change = async (event) => {
    event.preventDefault();
    const wanted = input.value.trim();
    if (wanted === model()) {
      return;
    }
    set({ model: wanted === page.model ? "" : wanted, under: "", planning: "" }); // both are of one model
    input.value = model();
    await showKept();
    shown();
  };
  const form = h("form", { onsubmit: change, onchange: change }, h("label", { for: "model" }, "Model"), input, list);
  document.querySelector("#about").replaceChildren(form);
}

// The edits of this model that this server knows, each to be looked under or not.
async function showKept() {
  const place = document.querySelector("#kept");
  const { edits, saved } = await api.get(`/api/edits?model=${encodeURIComponent(model())}`);
  page.saved = saved;
  const known = edits.map((edit) => edit.id);
  const chosen = (state.under || "").split(",").filter((id) => known.includes(id));
  set({ under: chosen.join(",") });
  place.hidden = edits.length === 0 || state.part === "runs"; // a run is what it is
  place.replaceChildren(h("legend", {}, "Look under"), ...edits.map((edit) => keptEdit(edit, chosen)));
}

function keptEdit(edit, chosen) {
  const toggle = (event) => {
    const now = (state.under || "").split(",").filter((id) => id && id !== edit.id);
    set({ under: [...now, ...(event.target.checked ? [edit.id] : [])].join(",") });
    shown();
  };
  const said = h("span", { role: "status", class: "no" });
  const forget = async () => {
    try {
      const answer = await api.request(`/api/edits/${encodeURIComponent(edit.id)}`, { method: "DELETE" });
      const { why } = await answer.json();
      if (why) {
        said.textContent = why;
        return;
      }
      await showKept();
      shown();
    } catch (error) {
      said.textContent = error.message;
    }
  };
  const box = h("input", { type: "checkbox", checked: chosen.includes(edit.id), onchange: toggle });
  return h("span", { class: "kept" }, h("label", {}, box, ` ${edit.says} (${edit.id})`),
    h("button", { type: "button", class: "small", "aria-label": `Forget ${edit.id}`, onclick: forget }, "Forget"), said);
}

start();
