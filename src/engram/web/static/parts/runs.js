// Which runs lie in the folder, how far are they, and what did they find? State: run, other, find (runs), score.

import { get, request } from "../api.js";
import { chapter } from "../chapter.js";
import { copyPython, field, h, minus, results, table } from "../ui.js";

const AGAIN = 2000; // milliseconds between two looks at a run that is not done
const FEW = 12; // scores that are seen at once; more stand behind a fold
const asked = (path, given) => `/api/runs${path}?${new URLSearchParams(given)}`;

export default { name: "runs", title: "Runs", render };

function render(root, tools) {
  const live = results();
  const page = { root: live.root, live, ...tools, go: (changes) => go(root, tools, changes) };
  root.replaceChildren(...root.querySelectorAll(":scope > h1"), live.root);
  live.busy("Reading the runs …");
  const { run, other } = tools.state;
  const shown = !run ? all(page) : other ? beside(page, run, other) : one(page, run);
  return shown.catch((error) => live.fail(error));
}

// Another view of this part, and a step that the back button goes back.
function go(root, tools, changes) {
  history.pushState(null, "", location.href);
  tools.set({ score: "", ...changes });
  render(root, tools);
  root.scrollIntoView();
}

// Looks again until `look()` says that it is done, or the place is gone.
function again(page, look) {
  setTimeout(async () => {
    if (!page.root.isConnected) {
      return;
    }
    try {
      if (document.hidden || !(await look())) {
        again(page, look);
      }
    } catch (error) {
      page.live.say(`${error.message} Looking again …`);
      again(page, look);
    }
  }, AGAIN);
}

// -- all runs

async function all(page) {
  let found = await get(asked("", {}));
  const place = h("div", {});
  const draw = () => keepingFocus(place, () => place.replaceChildren(...rows(page, found)));
  page.live.show(search("Show runs with", page, "find", draw), place);
  draw();
  again(page, async () => {
    const now = await get(asked("", {}));
    const changed = JSON.stringify(told(now)) !== JSON.stringify(told(found));
    found = now;
    if (changed) {
      draw();
    }
    return false; // a run may begin at any time
  });
}

const told = (found) => found.runs.map((run) => ({ ...run, idle: 0 })).concat(found.unreadable);

function rows(page, found) {
  const wanted = (page.state.find || "").toLowerCase();
  const runs = found.runs.filter((run) => [run.name, run.experiment, run.model, run.data].join(" ").toLowerCase().includes(wanted));
  if (!found.runs.length && !found.unreadable.length) {
    return [h("p", {}, `No run lies in ${found.folder}. `, h("code", {}, "engram run suppression --out runs/first"), " makes one; it is seen here while it goes on.")];
  }
  const columns = ["run", "shards", "experiment", "model", "data", { title: "facts", number: true }];
  const cells = (run) => [
    link(page, run.name, { run: run.name }), progress(run), run.experiment.replaceAll("_", " "), run.model, run.data, whole(run.facts),
  ];
  const said = `${runs.length} of ${found.runs.length + found.left_off} runs in ${found.folder}, the latest first`;
  const broken = found.unreadable.map((run) => h("li", {}, run.why));
  return [
    h("p", { role: "status" }, said),
    runs.length ? table(columns, runs.map(cells), "Runs") : null,
    broken.length ? h("details", { open: true }, h("summary", {}, `Cannot be read: ${broken.length}`), h("ul", {}, broken)) : null,
  ].filter(Boolean);
}

const link = (page, words, changes) =>
  h("a", {
    href: `?${new URLSearchParams({ part: "runs", ...changes })}`,
    "data-key": words,
    onclick: (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
        event.preventDefault();
        page.go({ run: "", other: "", ...changes });
      }
    },
  }, words);

function progress(run) {
  const words = `${whole(run.done)} of ${whole(run.shards)} done${run.given_up ? `, ${run.given_up} given up` : ""}`;
  if (run.complete) {
    return h("span", { style: { whiteSpace: "nowrap" } }, words);
  }
  const bar = h("progress", { max: run.shards, style: { width: "8rem" }, "aria-label": `shards of ${run.name} that are done` });
  bar.value = run.done;
  return h("span", {}, bar, " ", words, run.idle > 90 ? h("small", {}, ` nobody at it for ${ago(run.idle)}`) : null);
}

function keepingFocus(place, draw) {
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  draw();
  [...place.querySelectorAll("[data-key]")].find((node) => node.dataset.key === key)?.focus();
}

// -- one run

async function one(page, name) {
  const [run, others] = await Promise.all([get(asked("/one", { run: name })), get(asked("", {}))]);
  const found = h("div", { class: "told" });
  const place = h("p", { role: "status" }, "Shards: ", progress(run));
  page.live.show(
    back(page),
    h("h2", {}, name),
    h("p", {}, `${run.experiment.replaceAll("_", " ")} with ${run.model} on ${run.data}: ${whole(run.facts)} facts.`),
    place,
    ...givenUp(run),
    run.complete ? compared(page, run, others.runs) : null,
    ...summary(page, run),
    found,
    h("h2", {}, "This run in Python"),
    copyPython(run.python),
  );
  if (run.complete) {
    await chapter(found, name, download);
    return;
  }
  found.replaceChildren(...(await soFar(run)));
  again(page, () => further(page, name, place));
}

async function further(page, name, place) {
  const run = await get(asked("/one", { run: name }));
  place.replaceChildren("Shards: ", progress(run));
  if (run.complete) {
    await one(page, name);
  }
  return run.complete;
}

const back = (page) => h("p", {}, link(page, "All runs", {}));

const givenUp = (run) =>
  run.lost.length
    ? [h("details", { open: true }, h("summary", {}, `Given up: ${run.lost.length} shards`), h("ul", {}, run.lost.map((s) => h("li", {}, `shard ${s.shard}: ${s.why}`))))]
    : [];

// Of a run that is not done: its settings, and what could not be asked so far.
async function soFar(run) {
  const left = await get(asked("/skipped", { run: run.name }));
  const lines = (title, pairs) => h("details", {}, h("summary", {}, title), table(["setting", "value"], pairs, title));
  const rows = left.first.map((s) => [s.what, s.reason]);
  return [
    lines("Settings", run.settings),
    lines("Made with", run.made),
    left.n ? h("details", {}, h("summary", {}, `Left out so far: ${whole(left.n)}`), table(["what", "reason"], rows, "Not asked")) : null,
  ].filter(Boolean);
}

function summary(page, run) {
  if (!run.scores.length) {
    return run.notes.map((note) => h("p", {}, note));
  }
  const place = h("div", {});
  const draw = () => place.replaceChildren(...scores(page, run.scores));
  draw();
  const save = () => saved(page, asked("/scores.csv", { run: run.name }), `${run.name}.csv`);
  return [
    h("details", { open: run.scores.length <= FEW || Boolean(page.state.score) },
      h("summary", {}, `All ${run.scores.length} scores, as a table and as CSV`),
      search("Show scores with", page, "score", draw),
      place,
      h("button", { type: "button", onclick: save }, "Save all scores as CSV")),
  ];
}

function scores(page, found) {
  const wanted = (page.state.score || "").toLowerCase();
  const kept = found.filter((s) => `${s.name} ${s.unit}`.toLowerCase().includes(wanted));
  const columns = ["score", { title: "value [interval]", number: true }, "unit", { title: "n", number: true }];
  const rows = kept.map((s) => [s.name, `${value(s)} ${around(s)}`, s.unit, whole(s.n)]);
  const said = `${kept.length} of ${found.length} scores${brackets(found)}`;
  return [h("p", { role: "status" }, said), rows.length ? table(columns, rows, "Summary scores") : null].filter(Boolean);
}

// -- two runs

function compared(page, run, others) {
  const rank = (other) => (other.experiment === run.experiment ? 0 : 1);
  const known = others.filter((other) => other.complete && other.name !== run.name).sort((a, b) => rank(a) - rank(b));
  if (!known.length) {
    return null;
  }
  const option = (other) => h("option", { value: other.name }, `${other.name} (${other.experiment.replaceAll("_", " ")}, ${other.model})`);
  const choice = h("select", { name: "other" }, known.map(option));
  const submit = (event) => {
    event.preventDefault();
    page.go({ run: run.name, other: choice.value });
  };
  return h("form", { class: "question", onsubmit: submit }, field("Side by side with", choice), h("button", { type: "submit" }, "Compare"));
}

async function beside(page, name, other) {
  const [found, ...runs] = await Promise.all([
    get(asked("/beside", { run: name, other })), get(asked("/one", { run: name })), get(asked("/one", { run: other })),
  ]);
  const place = h("div", {});
  const draw = () => place.replaceChildren(...pairs(page, found, runs));
  draw();
  const save = h("button", { type: "button", onclick: () => saved(page, asked("/scores.csv", { run: name, other }), `${name}-${other}.csv`) }, "Save both as CSV");
  const different = found.differences.map((words) => h("li", {}, words));
  page.live.show(
    back(page),
    h("h2", {}, `${name} and ${other}`),
    h("p", {}, "First: ", link(page, name, { run: name }), `, ${runs[0].model} on ${runs[0].data}. Second: `, link(page, other, { run: other }), `, ${runs[1].model} on ${runs[1].data}.`),
    search("Show scores with", page, "score", draw),
    place,
    h("p", { class: "soft" }, "Apart: the two intervals have nothing in common. Where they overlap the runs may still differ: over the same facts a paired test is sharper."),
    save,
    h("details", {}, h("summary", {}, `What else differs: ${different.length}`), h("ul", {}, different)),
    copyPython(found.python),
  );
}

function pairs(page, found, runs) {
  const wanted = (page.state.score || "").toLowerCase();
  const kept = found.rows.filter((row) => `${row.name} ${row.unit}`.toLowerCase().includes(wanted));
  const cell = (s) => (s ? `${value(s)} ${around(s)}` : "–");
  const count = (s) => (s ? whole(s.n) : "–");
  const apart = (row) => (row.apart === null ? "–" : row.apart ? "yes" : "no");
  const columns = [
    "score", { title: "first", number: true }, { title: "n", number: true }, { title: "second", number: true }, { title: "n", number: true }, "unit", "apart",
  ];
  const rows = kept.map((row) => [row.name, cell(row.one), count(row.one), cell(row.other), count(row.other), row.unit, apart(row)]);
  const said = `${kept.length} of ${found.rows.length} scores, ${found.shared} of them in both${brackets([...runs[0].scores, ...runs[1].scores])}`;
  return [h("p", { role: "status" }, said), rows.length ? table(columns, rows, "Scores side by side") : null].filter(Boolean);
}

// -- words and files

function search(label, page, name, draw) {
  const input = h("input", { type: "search", name, maxlength: 100, value: page.state[name] || "", autocomplete: "off" });
  input.addEventListener("input", () => {
    page.set({ [name]: input.value });
    draw();
  });
  const shown = field(label, input);
  shown.style.maxWidth = "24rem";
  return shown;
}

async function saved(page, path, name) {
  try {
    await download(path, name);
  } catch (error) {
    page.live.say(error.message);
  }
}

// A link could not send the token: the file is fetched, and then saved.
async function download(path, name) {
  const address = URL.createObjectURL(await (await request(path)).blob());
  const anchor = h("a", { href: address, download: name.replace(/[^\w.-]+/g, "-") });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

const whole = (n) => Number(n).toLocaleString("en");
const ago = (seconds) => (seconds < 7200 ? `${Math.round(seconds / 60)} min` : seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`);
const shown = (x) => (x === null ? "–" : Number.isInteger(x) ? minus(whole(x)) : minus(Math.abs(x) >= 1000 ? x.toFixed(1) : String(Number(x.toPrecision(4)))));
const value = (s) => shown(s.value);
const around = (s) => (s.interval ? `[${shown(s.interval[0])}, ${shown(s.interval[1])}]` : "");

// What stands in brackets, where anything does.
function brackets(found) {
  const levels = [...new Set(found.filter((s) => s.interval).map((s) => 100 * s.level))];
  return levels.length ? `; in brackets ${levels.join(" or ")} % intervals` : "";
}
