// What would a fact say with another answer? State: to, editor, written
// (the layer), lookup (the token; `token` is the secret of the address), balance. A plan is kept by the server, by id.

import { question } from "../question.js";
import { bar, chart, copyPython, field, h, number, percent, results, runner, table } from "../ui.js";

const EDITORS = {
  "r-rome": "R-ROME (Gupta et al. 2024)",
  rome: "ROME as published (Meng et al. 2022)",
  "p-rome": "p-ROME, the sentence alone",
  memit: "MEMIT (Meng et al. 2023)",
  alphaedit: "AlphaEdit (Fang et al. 2025)",
  surgery: "knowledge surgery (Dai et al. 2022)",
  "causal-neuron": "causal neurons, found by tracing",
  "ft-m": "fine-tuning (FT-M)",
  ft: "fine-tuning (FT)",
  "ft-l": "fine-tuning, bounded (FT-L)",
};
const TOKENS = { "": "where a trace points", subject: "last of the subject", subject_first: "first of the subject", asked: "where the answer is told" };
const PLACED = (by) => !["surgery", "causal-neuron"].includes(by);
const LOOKS_UP = (by) => PLACED(by) && !by.startsWith("ft");
let last = null; // the plan that was shown: ticking an edit above draws the part anew

export default { name: "edit", title: "Edit", render };

function render(root, tools) {
  const live = results();
  const start = async (signal) => {
    const found = await tools.work("plan_edit", asked(tools.state), (done) => live.progress(done), signal);
    last = { model: tools.model(), found };
    await shown(live, found, tools);
    await tools.keptChanged();
  };
  const action = runner("Plan the edit", start, live);
  root.append(
    h("p", {}, "Give a fact another answer. The edit is planned on the model as it is, tried, and kept here by an id; ",
      "ticked above, it holds in every part of this page. The model's own files stay as they are."),
    question(tools, action, { subject: true, extra: settings(tools) }),
    live.root,
  );
  if (last && last.model === tools.model()) {
    shown(live, last.found, tools);
  }
}

function asked(state) {
  const by = state.editor || "r-rome";
  return {
    prompt: state.prompt || "",
    answer: state.answer || "",
    subject: state.subject || "",
    to: state.to || "",
    by,
    ...(PLACED(by) && state.written ? { layer: Number(state.written) } : {}),
    ...(LOOKS_UP(by) && state.lookup ? { token: state.lookup } : {}),
    ...(by === "memit" && state.balance ? { balance: Number(state.balance) } : {}),
  };
}

function settings(tools) {
  const { state, set } = tools;
  const input = (name, attrs) =>
    h("input", { name, value: state[name] || "", autocomplete: "off", oninput: (e) => set({ [name]: e.target.value }), ...attrs });
  const select = (name, choices, now, changed) =>
    h("select", { name, onchange: (e) => changed(e.target.value) }, Object.entries(choices).map(([value, words]) => h("option", { value, selected: value === now }, words)));
  const layer = field("Layer", input("written", { type: "number", min: 0, max: 999, placeholder: "where a trace points" }));
  const token = field("Token looked up", select("lookup", TOKENS, state.lookup || "", (value) => set({ lookup: value })));
  const balance = field("Balance", input("balance", { type: "number", min: 0, step: "any", placeholder: "20000" }), "the larger, the less is written and disturbed");
  const fit = (by) => {
    layer.hidden = !PLACED(by);
    token.hidden = !LOOKS_UP(by);
    balance.hidden = by !== "memit";
  };
  const by = select("editor", EDITORS, state.editor || "r-rome", (value) => {
    set({ editor: value === "r-rome" ? "" : value });
    fit(value);
  });
  fit(state.editor || "r-rome");
  return [field("New answer", input("to", { required: true, maxlength: 200, placeholder: "Paris", spellcheck: "false" })), field("Editor", by), layer, token, balance];
}

async function shown(live, found, tools) {
  const picture = h("div", { role: "img", "aria-label": "Bars: mean probability of the right answer in each group of sentences, before and after" });
  live.show(
    h("h2", {}, `${found.says}, kept as ${found.id}`),
    h("p", {}, found.planned),
    where(found.where),
    ...found.notes.map((note) => h("p", { class: "note" }, note)),
    actions(found, live, tools),
    h("h2", {}, "What is said at the blank"),
    h("div", { style: beside() }, words("Before", found.first.before), words("After", found.first.after)),
    h("h2", {}, "What else changed"),
    together(found.groups),
    picture,
    ...found.groups.map((group) => sentences(group, found.rows.filter((row) => row.group === group.group))),
    h("h2", {}, "What the edit says of itself"),
    table(["", { title: "value", number: true }, "unit"], found.audit.map((own) => [own.name, value(own.value), own.unit]), "Audit"),
    copyPython(found.python),
  );
  await chart(picture, found.figure, `edit-${found.id}`);
}

const beside = () => ({ display: "grid", gap: "0 2rem", gridTemplateColumns: "repeat(auto-fit, minmax(min(100%, 20rem), 1fr))" });
const value = (x) => (typeof x === "number" ? number(x) : x === true ? "yes" : x === false ? "no" : String(x));

function where({ layers, token, neurons, why }) {
  const place = `${layers.length > 1 ? "layers" : "layer"} ${layers.join(", ")}`;
  const more = [token === null ? "" : `token: ${TOKENS[token] || token}`, neurons ? `${neurons} value slots` : "", why || ""];
  return h("p", { class: "soft" }, [`It writes in ${place}`, ...more].filter(Boolean).join("; "), ".");
}

function words(title, top) {
  return table(["word", "probability"], top.map(([word, p]) => [word, bar(p, percent(p))]), `${title} the edit`);
}

const arrow = ([before, after], write) => `${write(before)} → ${write(after)}`;

function together(groups) {
  const columns = ["sentences", { title: "n", number: true }, { title: "right answer said first", number: true },
    { title: "its mean probability", number: true }, { title: "95 % of the change", number: true }];
  const signed = (x) => `${x < 0 ? "−" : "+"}${number(Math.abs(x), 2)}`;
  const rows = groups.map((group) => [
    group.meant, group.n, arrow(group.right, (x) => `${x}`), arrow(group.p, (x) => number(x)),
    group.interval ? group.interval.map(signed).join(" to ") : "one sentence",
  ]);
  return table(columns, rows, "Before → after; “right” is what should be said once the wish is fulfilled. Intervals: bootstrap over sentences");
}

function sentences(group, rows) {
  const columns = ["sentence", "right answer", "says first", { title: "rank of the right one", number: true },
    { title: "P(new answer)", number: true }, { title: "P(old or true answer)", number: true }];
  const cells = (row) => [
    row.sentence, row.wanted, arrow(row.first, (x) => x), arrow(row.rank, (x) => `${x}`),
    `${arrow(row.p_new, (x) => number(x))} (${row.new})`, row.p_old ? `${arrow(row.p_old, (x) => number(x))} (${row.old})` : "-",
  ];
  const [before, after] = group.right;
  return h("details", {}, h("summary", {}, `${group.meant}: right ${before} → ${after} of ${group.n}`), table(columns, rows.map(cells), group.meant));
}

// Keep it: hold it in the other parts, save it as an adapter, or undo it.
function actions(found, live, tools) {
  const said = h("span", { role: "status" });
  const telling = (work) => async (event) => {
    event.preventDefault();
    try {
      said.className = "";
      said.textContent = await work();
    } catch (error) {
      said.className = "no";
      said.textContent = error.message;
    }
  };
  const name = h("input", { name: "save-as", required: true, maxlength: 60, pattern: "[A-Za-z0-9_\\-]+", title: "letters, digits, - and _", autocomplete: "off", spellcheck: "false", placeholder: "ireland-paris" });
  const look = telling(async () => {
    await tools.keptChanged(found.id);
    return "It holds in every part of this page until it is unticked above.";
  });
  const save = telling(async () => {
    const { folder } = await tools.work("save_edit", { id: found.id, name: name.value });
    return `Saved in ${folder}, a PEFT adapter.`;
  });
  const undo = telling(async () => {
    await tools.work("forget_edit", { id: found.id });
    last = null;
    await tools.keptChanged();
    live.show(h("p", {}, `${found.id} is forgotten; the model is what it was.`));
    return "";
  });
  return h("div", { class: "actions" },
    h("div", { class: "run" }, h("button", { type: "button", onclick: look }, "Look under it"), h("button", { type: "button", onclick: undo }, "Undo")),
    h("form", { class: "run", style: { alignItems: "end", margin: ".6rem 0", flexWrap: "wrap" }, onsubmit: save }, field("Save as", name), h("button", { type: "submit" }, "Save as an adapter")),
    said,
  );
}
