// What do the selected neurons do to the answer? State: neurons, by (0 silences, 1 is the model, 2 doubles).

import { filled } from "../one_neuron.js";
import { given, question } from "../question.js";
import { parsed } from "../selecting.js";
import { chart, colours, copyPython, field, h, minus, number, percent, results, runner, table } from "../ui.js";

const BEFORE = "#8b959f";
const AFTER = "#2f7fd1";
const PAUSE = 60; // ms: the slider is not asked for each of its steps

export default { name: "turn", title: "Turn", render };

function render(root, tools) {
  const live = results();
  const page = { ...tools, live, shown: null, moved: 0, stop: new AbortController() };
  const action = runner("Turn", (signal) => whole(page, signal), live);
  root.append(question(tools, action, { extra: [neurons(tools)] }), turning(page, action), live.root);
  if (tools.state.prompt && tools.state.answer && tools.state.neurons) {
    action.run();
  }
}

function neurons({ state, set }) {
  const input = h("input", {
    name: "neurons", value: state.neurons || "", required: true, maxlength: 40000, spellcheck: "false", autocomplete: "off",
    placeholder: "L3.187 L2.195", oninput: (event) => set({ neurons: event.target.value }),
  });
  return field("Neurons", input);
}

// From the slider's place, 0 … 4, to the factor: even steps up to 1, then each step doubles, up to 8.
export const factor = (at) => (at <= 1 ? at : 2 ** (at - 1));
export const placeOf = (by) => (by <= 1 ? by : 1 + Math.log2(by));
const by = ({ state }) => {
  const value = Number.parseFloat(state.by);
  return value >= 0 && value <= 8 ? value : 0;
};

function called(value) {
  const names = { 0: "silent", 1: "as they are", 2: "twice as loud" };
  return names[value] || `${number(value)} times their own value`;
}

function turning(page, action) {
  const says = h("output", {}, called(by(page)));
  const slider = h("input", { type: "range", name: "turn", min: 0, max: 4, step: 0.05, value: placeOf(by(page)), "aria-valuetext": called(by(page)) });
  const exact = h("input", { type: "number", name: "by", min: 0, max: 8, step: "any", value: by(page) });
  const to = (value, done) => {
    page.set({ by: value });
    says.textContent = called(by(page));
    slider.setAttribute("aria-valuetext", says.textContent);
    soon(page, action, done);
  };
  const slid = () => Math.round(factor(Number(slider.value)) * 100) / 100;
  const sliding = (done) => () => {
    exact.value = slid();
    to(slid(), done);
  };
  slider.addEventListener("input", sliding(false));
  slider.addEventListener("change", sliding(true));
  exact.addEventListener("change", () => {
    slider.value = placeOf(Number(exact.value) || 0);
    to(exact.value, true);
  });
  const marks = h("div", { class: "soft", "aria-hidden": "true", style: { display: "flex", justifyContent: "space-between" } },
    ["0", "1", "2", "4", "8"].map((mark) => h("span", {}, mark)));
  const ruled = h("div", { style: { flex: "1 1 20rem" } }, field("How loud they are at the blank", slider), marks);
  const small = field("exactly", exact);
  small.style.flex = "0 1 6rem";
  return h("div", { style: { display: "flex", flexWrap: "wrap", gap: "1rem", margin: "1rem 0" } }, ruled, small, h("p", { style: { flex: "0 1 14rem" } }, says));
}

// After a short rest: this prompt while the slider moves, all the others when it is let go.
function soon(page, action, done) {
  clearTimeout(page.timer);
  page.timer = setTimeout(() => {
    if (page.shown) {
      turn(page, done);
    } else if (done) {
      action.run();
    }
  }, PAUSE);
}

async function turn(page, others) {
  page.stop.abort();
  page.stop = new AbortController();
  const mine = ++page.moved;
  const slow = setTimeout(() => page.live.busy("Turning …"), 400);
  try {
    const found = await ask(page, others, page.stop.signal);
    if (mine === page.moved) {
      page.live.idle();
      await draw(page, found);
    }
  } catch (error) {
    if (mine === page.moved) {
      page.shown = null;
      page.live.fail(error);
    }
  } finally {
    clearTimeout(slow);
  }
}

function ask({ state, work, live }, others, signal) {
  const asked = { ...given(state), neurons: parsed(state.neurons).join(" "), by: by({ state }), others };
  return work("turn", asked, (p) => others && live.progress(p), signal);
}

async function whole(page, signal) {
  page.stop.abort();
  page.moved += 1;
  const found = await ask(page, true, signal);
  page.shown = frame(page);
  await draw(page, found);
}

// What stays where it is while the slider moves.
function frame({ live }) {
  const div = (label) => h("div", label ? { role: "group", "aria-label": label, style: { minHeight: "0" } } : {});
  const shown = {
    headline: h("p", { "aria-live": "polite" }), words: div("Probability of the best words, before and after"), list: div(),
    groups: div("Mean probability of the answers, before and after, by group of prompts"), others: div(), python: div(), title: h("h2", {}, "Elsewhere"),
  };
  live.show(shown.headline, h("h2", {}, "What it says"), shown.words, shown.list, shown.title, shown.groups, shown.others, shown.python);
  return shown;
}

async function draw({ shown, page: told }, found) {
  const { before, after } = found;
  const count = found.neurons.length === 1 ? "1 neuron" : `${found.neurons.length} neurons`;
  shown.headline.replaceChildren(
    `${count} ${called(found.by)}: P(answer) ${percent(before.probability)} → `, h("b", {}, percent(after.probability)),
    `, rank ${before.rank} → ${after.rank}.`, found.bare ? ` Without the edits: ${percent(found.bare.probability)}, rank ${found.bare.rank}.` : "");
  shown.list.replaceChildren(h("details", {}, h("summary", {}, "The same as a table"), words(found)));
  shown.python.replaceChildren(copyPython(found.python));
  await chart(shown.words, wordsFigure(found), "engram-words");
  if (found.groups.length) {
    shown.others.replaceChildren(...elsewhere(found));
    await chart(shown.groups, groupsFigure(found), "engram-specificity");
  }
  shown.title.hidden = shown.groups.hidden = found.fact === null;
  if (found.fact === null) {
    shown.others.replaceChildren(h("p", { class: "soft" }, `This sentence asks for none of ${told.facts}, so it is asked alone. Give its answer as it stands there, and its subject in the prompt, to see what else changes.`));
  }
}

const column = (title) => ({ title, number: true });

function words(found) {
  const some = (p) => (p === null ? "not in the first 100" : percent(p));
  return table(["word", column("before"), column("after")], found.words.map((w) => [w.word, some(w.before), some(w.after)]), "Probability at the blank");
}

const paired = (name, color, rows, more) => ({ type: "bar", name, marker: { color }, ...rows, ...more });

function wordsFigure(found) {
  const rows = [...found.words].reverse();
  const side = (key) => ({ orientation: "h", y: rows.map((w) => w.word), x: rows.map((w) => w[key] || 0), hovertemplate: "%{y}: %{x:.2%}<extra>%{fullData.name}</extra>" });
  const layout = {
    ...legend(110 + 34 * rows.length), margin: { l: 110, r: 16, t: 44, b: 44 },
    xaxis: { title: { text: "probability" }, tickformat: ".0%", rangemode: "tozero" }, yaxis: { dtick: 1 },
  };
  return { data: [paired(called(found.by), AFTER, side("after")), paired("before", BEFORE, side("before"))], layout };
}

const legend = (height) => ({ height, barmode: "group", bargap: 0.25, legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", traceorder: "reversed" } });

const score = (group, name) => group.scores.find((s) => s.name === name);

function groupsFigure(found) {
  const rows = [...found.groups].reverse();
  const side = (when) => {
    const scores = rows.map((group) => score(group, `p ${when}`));
    const reach = (end) => scores.map((s) => (s.interval ? Math.abs(s.interval[end] - s.value) : NaN)); // not null: that is drawn as a line of no length
    return {
      orientation: "h", y: rows.map((group) => `${group.name} (${group.rows.length})`), x: scores.map((s) => s.value),
      error_x: { type: "data", symmetric: false, array: reach(1), arrayminus: reach(0), thickness: 1, width: 3, color: colours().ink },
      hovertemplate: "%{y}: %{x:.2%}<extra>%{fullData.name}</extra>",
    };
  };
  const layout = {
    ...legend(110 + 56 * rows.length), margin: { l: 150, r: 16, t: 44, b: 44 },
    xaxis: { title: { text: "mean P(answer)" }, tickformat: ".0%", rangemode: "tozero" }, yaxis: { dtick: 1 },
  };
  return { data: [paired(called(found.by), AFTER, side("after")), paired("before", BEFORE, side("before"))], layout };
}

function elsewhere(found) {
  const rows = found.groups.map((group) => {
    const [change, was, now] = ["absolute", "accuracy before", "accuracy after"].map((name) => score(group, name));
    const [low, high] = change.interval || [];
    const interval = change.interval ? ` [${points(low)}, ${points(high)}]` : "";
    return [group.name, group.rows.length, `${points(change.value)}${interval}`, `${percent(was.value)} → ${percent(now.value)}`];
  });
  return [
    table(["prompts", column("n"), column("change of P(answer), points of 100"), column("answered first")], rows, `${found.fact}, neurons ${called(found.by)}; 95 % intervals over facts, none where there is one fact`),
    ...found.groups.filter((group) => group.rows.length > 1).map(prompts),
  ];
}

// 0.0123 → "+1.2"; what rounds to nothing has no sign.
function points(x) {
  const text = (100 * x).toFixed(1);
  return Number(text) === 0 ? "0.0" : minus(`${x > 0 ? "+" : ""}${text}`);
}

function prompts(group) {
  const rows = group.rows.map((r) => [filled(r.text, r.answer), `${percent(r.before)} → ${percent(r.after)}`, `${r.rank_before} → ${r.rank_after}`]);
  return h("details", {}, h("summary", {}, `${group.name}: ${rows.length} prompts`), table(["prompt", column("P(answer)"), column("rank")], rows, group.name));
}
