// What would a fact say with another answer? State: to, editor, written (the layer), lookup (the token; `token` is the
// secret of the address), balance, moments, tokens, and planning: the job, so that a page that was closed finds it.

import { actions, readSaved } from "../keeping.js";
import { question, under } from "../question.js";
import { bar, chart, copyPython, field, h, minus, number, percent, results, runner, table } from "../ui.js";

const TOKENS = { "": "where a trace points", subject: "last of the subject", subject_first: "first of the subject", asked: "where the answer is told" };
const MOMENTS = { "": "none (the identity)", shipped: "of ordinary text", asked: "of other facts, where they are asked" };
const FIRST = "r-rome";
let last = null; // the plan that was shown: ticking an edit above draws the part anew

export default { name: "edit", title: "Edit", render };

function render(root, tools) {
  const live = results();
  const start = async (signal) => {
    const job = tools.state.planning || "";
    const model = tools.model(); // another may be chosen before it is planned
    const progress = (now) => live.progress(now);
    const onJob = (id) => tools.set({ planning: id });
    try {
      const found = await tools.work("plan_edit", job ? {} : asked(tools), progress, signal, { job, onJob });
      last = { model, found };
      await shown(live, found, tools);
    } finally {
      tools.set({ planning: "" });
      await tools.keptChanged();
    }
  };
  const action = runner("Plan the edit", start, live);
  root.append(
    h("p", {}, "Give a fact another answer. The edit is planned, tried, and kept here by an id; ticked above, it holds in ",
      "every part of this page. The model's own files stay as they are."),
    question(tools, action, { subject: true, extra: settings(tools) }),
    under(tools.state).length ? h("p", { class: "soft" }, "Planned under what is ticked above, and held after it.") : "",
    readSaved(tools),
    live.root,
  );
  if (tools.state.planning) {
    action.run();
  } else if (last && last.model === tools.model()) {
    shown(live, last.found, tools);
  }
}

const editor = ({ state, page }) => page.editors.find((one) => one.name === (state.editor || FIRST)) || page.editors[0];
const takes = (tools, ...names) => names.some((name) => editor(tools).takes.includes(name));

function asked(tools) {
  const { state } = tools;
  const moments = takes(tools, "covariance", "covariances") && state.moments in MOMENTS ? state.moments : "";
  return {
    prompt: state.prompt || "",
    answer: state.answer || "",
    subject: state.subject || "",
    to: state.to || "",
    by: editor(tools).name,
    under: under(state),
    ...(takes(tools, "layer", "layers") && state.written ? { layer: Number(state.written) } : {}),
    ...(takes(tools, "token") && state.lookup ? { token: state.lookup } : {}),
    ...(takes(tools, "balance") && state.balance ? { balance: Number(state.balance) } : {}),
    ...(moments ? { covariance: moments } : {}),
    ...(moments === "shipped" && state.tokens ? { tokens: Number(state.tokens) } : {}),
  };
}

function settings(tools) {
  const { state, set, page } = tools;
  const input = (name, attrs) =>
    h("input", { name, value: state[name] || "", autocomplete: "off", oninput: (e) => set({ [name]: e.target.value }), ...attrs });
  const select = (name, choices, now, changed) =>
    h("select", { name, onchange: (e) => changed(e.target.value) }, Object.entries(choices).map(([value, words]) => h("option", { value, selected: value === now }, words)));
  const layer = field("Layer", input("written", { type: "number", min: 0, max: 999, placeholder: "where a trace points" }));
  const token = field("Token looked up", select("lookup", TOKENS, state.lookup || "", (value) => set({ lookup: value })));
  const balance = field("Balance", input("balance", { type: "number", min: 0, step: "any", placeholder: "20000" }), "the larger, the less is written and disturbed");
  const moments = field("Second moments of keys", select("moments", MOMENTS, state.moments || "", (value) => {
    set({ moments: value });
    fit();
  }), "what the edit is to leave as it is");
  const tokens = field("Tokens read", input("tokens", { type: "number", min: 100, max: 10000000, placeholder: "20000" }), "the more, the longer it takes");
  const fit = () => {
    layer.hidden = !takes(tools, "layer", "layers");
    token.hidden = !takes(tools, "token");
    balance.hidden = !takes(tools, "balance");
    moments.hidden = !takes(tools, "covariance", "covariances");
    tokens.hidden = moments.hidden || state.moments !== "shipped";
  };
  const names = Object.fromEntries(page.editors.map(({ name, says }) => [name, says]));
  const by = select("editor", names, editor(tools).name, (value) => {
    set({ editor: value === FIRST ? "" : value });
    fit();
  });
  fit();
  return [field("New answer", input("to", { required: true, maxlength: 200, placeholder: "Paris", spellcheck: "false" })), field("Editor", by), layer, token, balance, moments, tokens];
}

async function shown(live, found, tools) {
  const picture = h("div", { role: "group", "aria-label": "Bars: mean probability of the right answer in each group of sentences, before and after" });
  live.show(
    h("h2", {}, `${found.says}, kept as ${found.id}`),
    h("p", {}, found.planned),
    where(found.where, found.on, found.moments),
    ...found.notes.map((note) => h("p", { class: "note" }, note)),
    actions(found, tools, () => {
      last = null;
      live.show(h("p", {}, `${found.id} is forgotten; the model is what it was.`));
    }),
    h("h2", {}, "What is said at the blank"),
    h("div", { style: beside() }, words("Before", found.first.before), words("After", found.first.after)),
    h("h2", {}, "What else changed"),
    together(found.groups),
    picture,
    ...found.groups.map((group) => sentences(group, found.rows.filter((row) => row.group === group.group))),
    h("h2", {}, "What the edit says of itself"),
    table(["what", { title: "value", number: true }, "unit"], found.audit.map((own) => [own.name, value(own.value), own.unit]), "Audit"),
    copyPython(found.python),
  );
  await chart(picture, found.figure, `edit-${found.id}`);
}

const beside = () => ({ display: "grid", gap: "0 2rem", gridTemplateColumns: "repeat(auto-fit, minmax(min(100%, 20rem), 1fr))" });
const value = (x) => (typeof x === "number" ? number(x) : x === true ? "yes" : x === false ? "no" : String(x));

function where({ layers, token, neurons, why }, on, moments) {
  const place = `${layers.length > 1 ? "layers" : "layer"} ${layers.join(", ")}`;
  const more = [token === null ? "" : `token: ${TOKENS[token] || token}`, neurons ? `${neurons} value slots` : "", why || "", moments ? `second moments of keys: ${moments}` : "",
    on.length ? `planned under ${on.join(" and ")}, which “before” is under too` : ""];
  return h("p", { class: "soft" }, [`It writes in ${place}`, ...more].filter(Boolean).join("; "), ".");
}

function words(title, top) {
  return table(["word", "probability"], top.map(([word, p]) => [word, bar(p, percent(p))]), `${title} the edit`);
}

const arrow = ([before, after], write) => `${write(before)} → ${write(after)}`;

function together(groups) {
  const columns = ["sentences", { title: "n", number: true }, { title: "right answer said first", number: true },
    { title: "its mean probability", number: true }, { title: "95 % of the change", number: true }];
  const signed = (x) => `${x < 0 ? "" : "+"}${minus(number(x, 2))}`;
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
    `${arrow(row.p_new, (x) => number(x))} (${row.new})`, row.p_old ? `${arrow(row.p_old, (x) => number(x))} (${row.old})` : "–",
  ];
  const [before, after] = group.right;
  return h("details", {}, h("summary", {}, `${group.meant}: right ${before} → ${after} of ${group.n}`), table(columns, rows.map(cells), group.meant));
}
