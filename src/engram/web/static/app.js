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
let left = new AbortController();

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

// Ask a view of the model that the page is about. Ends when the part is left.
function work(view, given, onProgress, signal) {
  const signals = [left.signal, ...(signal ? [signal] : [])];
  return api.work(view, model(), given, onProgress, AbortSignal.any(signals));
}

// The edits kept for this model have changed: show them. `show` is an id to look under from now on.
async function keptChanged(show = "") {
  if (show) {
    const now = (state.under || "").split(",").filter(Boolean);
    set({ under: [...new Set([...now, show])].join(",") });
  }
  await showKept();
}

const tools = { state, set, work, ui, api, model, keptChanged };

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
  left.abort();
  left = new AbortController();
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
  part.render(root, tools);
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
    set({ model: wanted === page.model ? "" : wanted, under: "" });
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
  const { edits } = await api.get(`/api/edits?model=${encodeURIComponent(model())}`);
  const known = edits.map((edit) => edit.id);
  const chosen = (state.under || "").split(",").filter((id) => known.includes(id));
  set({ under: chosen.join(",") });
  place.hidden = edits.length === 0;
  place.replaceChildren(h("legend", {}, "Look under"), ...edits.map((edit) => keptEdit(edit, chosen)));
}

function keptEdit(edit, chosen) {
  const toggle = (event) => {
    const now = (state.under || "").split(",").filter((id) => id && id !== edit.id);
    set({ under: [...now, ...(event.target.checked ? [edit.id] : [])].join(",") });
    shown();
  };
  const forget = async () => {
    await api.request(`/api/edits/${encodeURIComponent(edit.id)}`, { method: "DELETE" });
    await showKept();
    shown();
  };
  const box = h("input", { type: "checkbox", checked: chosen.includes(edit.id), onchange: toggle });
  return h("span", { class: "kept" }, h("label", {}, box, ` ${edit.says} (${edit.id})`),
    h("button", { type: "button", class: "small", "aria-label": `Forget ${edit.id}`, onclick: forget }, "Forget"));
}

start();
