"use strict";
// What a person or the model has written is put in by textContent or as text nodes only.

const get = (id) => document.getElementById(id);
const HUES = [210, 25, 140, 285, 340, 50, 175, 95];
const MOST_ROWS = 20;
let about = null;

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("--")) made.style.setProperty(name, value);
    else if (name.startsWith("aria-") || name === "scope" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// ---- Text and places in it. Places count code points; a JavaScript string counts UTF-16 units, two for an emoji.

function highlighted(text, pieces, show) {
  const points = Array.from(text);
  const shown = element("p", { className: "text", dir: "auto" });
  let at = 0;
  for (const piece of pieces) {
    if (piece.start < at) continue;
    shown.append(points.slice(at, piece.start).join(""), show(piece, points.slice(piece.start, piece.end).join("")));
    at = piece.end;
  }
  shown.append(points.slice(at).join(""));
  return shown;
}

const percent = (share) => `${(100 * share).toFixed(share > 0.9945 || share < 0.0995 ? 2 : 1)} %`;
const number = (value) => (Number.isInteger(value) ? String(value) : value.toPrecision(4));

// A head with a space before it stands over numbers.
function table(heads, rows, caption = null) {
  const head = element("tr", {}, ...heads.map((one) => element("th", { scope: "col", className: one.startsWith(" ") ? "number" : "" }, one.trim())));
  const body = element("tbody", {}, ...rows);
  return element("table", {}, caption === null ? null : element("caption", {}, caption), element("thead", {}, head), body);
}

// ---- What the model found, by the kind of output

function entities(output, input) {
  if (output.entities.length === 0) return [element("p", { className: "text" }, input.text), note("Nothing is found in it.")];
  const kinds = [...new Set(output.entities.map((one) => one.type))];
  const hue = (one) => HUES[kinds.indexOf(one.type) % HUES.length];
  const tag = (one) => element("span", { className: "type", "--hue": hue(one) }, one.type);
  const marked = highlighted(input.text, output.entities, (one, text) =>
    element("mark", { "--hue": hue(one), title: `${one.type}, ${percent(one.score)}` }, text, tag(one)));
  const rows = output.entities.map((one, i) => element("tr", {},
    element("td", {}, tag(one)),
    element("td", { dir: "auto" }, one.text),
    element("td", { className: "number" }, `${one.start}–${one.end}`),
    element("td", { className: "number" }, percent(one.score)),
    whyCell(input, i, `${one.type} ${one.text}`)));
  return [marked, table(["type", "text", " place", " score", ""], rows)];
}

function bars(scores, said, input) {
  const sorted = Object.entries(scores).sort((one, other) => other[1] - one[1]);
  const rows = sorted.slice(0, MOST_ROWS).map(([label, share]) => element("tr", { className: said.includes(label) ? "said" : "" },
    element("td", {}, label),
    element("td", { className: "share" }, element("div", { className: "bar" }, element("i", { "--share": 100 * share }))),
    element("td", { className: "number narrow" }, percent(share)),
    whyCell(input, label, label)));
  const shown = table(["label", "", " score", ""], rows);
  shown.classList.add("bars");
  const left = sorted.length - rows.length;
  return left > 0 ? [shown, note(`${left} more labels, all less likely.`)] : [shown];
}

function label(output, input) {
  const big = element("p", { className: "big" }, output.label, " ", element("small", {}, percent(output.score)));
  return [big, ...bars(output.scores, [output.label], input)];
}

function labels(output, input) {
  const chips = output.labels.map((one) => element("span", { className: "chip" }, one));
  const said = chips.length ? element("div", {}, ...chips) : note("No label is likelier than not.");
  return [said, ...bars(output.scores, output.labels, input)];
}

function value(output, input) {
  const big = element("p", { className: "big" }, number(output.value));
  return about.explains ? [big, element("div", {}, whyButton(input, null, "this number"))] : [big];
}

function answer(output, input) {
  if (output.answer === null) return [element("p", { className: "big" }, "It is not there ", element("small", {}, percent(output.score))), element("p", { className: "text" }, input.context)];
  const big = element("p", { className: "big", dir: "auto" }, output.answer, " ", element("small", {}, percent(output.score)));
  return [big, highlighted(input.context, [output], (_, text) => element("mark", {}, text))];
}

function written(output) {
  const ends = output.finished ? null : note("It ends here because no more was asked for.");
  const left = output.left_out ? note(`${output.left_out} sub-words of the input did not fit.`) : null;
  return [element("p", { className: "text", dir: "auto" }, output.text), ends, left];
}

function vector(output) {
  const values = output.vector;
  const [low, high] = values.reduce(([a, b], one) => [Math.min(a, one), Math.max(b, one)], [Infinity, -Infinity]);
  const points = values.map((one, i) => `${i},${(high - one) / (high - low || 1)}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 -0.05 ${Math.max(1, values.length - 1)} 1.1`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "The values of the vector, in their order");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", `M${points.join("L")}`);
  svg.append(path);
  const first = values.slice(0, 8).map((one) => one.toFixed(3)).join(", ");
  return [
    element("p", { className: "big" }, `${values.length} `, element("small", {}, "values")), svg,
    note(`From ${low.toFixed(3)} to ${high.toFixed(3)}; length ${Math.hypot(...values).toFixed(3)}. It begins ${first}${values.length > 8 ? ", …" : "."}`),
  ];
}

function gaps(output, input) {
  const parts = input.text.split("[MASK]");
  const shown = element("p", { className: "text" }, parts[0]);
  parts.slice(1).forEach((part, i) => shown.append(element("mark", {}, output.gaps[i]?.[0]?.text ?? "…"), part));
  const tables = output.gaps.map((guesses, i) => {
    const rows = guesses.map((one, place) => element("tr", { className: place ? "" : "said" },
      element("td", {}, one.text),
      element("td", { className: "share" }, element("div", { className: "bar" }, element("i", { "--share": 100 * one.score }))),
      element("td", { className: "number narrow" }, percent(one.score))));
    const made = table(["sub-word", "", " score"], rows, output.gaps.length > 1 ? `Gap ${i + 1}` : null);
    made.classList.add("bars");
    return made;
  });
  return output.gaps.length ? [shown, ...tables] : [shown, note("The text has no gap; write one as [MASK].")];
}

const KINDS = {
  Entities: entities, Label: label, Labels: labels, Number: value, Answer: answer, Written: written, Vector: vector, Guesses: gaps,
};

function note(text) {
  return element("p", { className: "quiet" }, text);
}

// ---- Why

function whyButton(input, target, what) {
  const made = element("button", { type: "button", className: "why", "aria-label": `Why ${what}?` }, "Why?");
  made.addEventListener("click", () => explain(input, target));
  return made;
}

function whyCell(input, target, what) {
  return about.explains ? element("td", { className: "narrow" }, whyButton(input, target, what)) : element("td");
}

async function explain(input, target) {
  const body = target === null ? { input } : { input, target };
  const reply = await working("Explaining …", () => ask("v1/explain", body));
  if (reply === null) return;
  const found = reply.explanation;
  const strongest = Math.max(...found.tokens.map((one) => Math.abs(one.attribution)), 1e-12);
  const fields = [...new Set(found.tokens.map((one) => one.field))];
  const texts = fields.map((field) => highlighted(input[field], found.tokens.filter((one) => one.field === field), (one, text) =>
    element("span", {
      className: `token ${one.attribution < 0 ? "against" : "for"}`, title: `${one.attribution >= 0 ? "+" : ""}${one.attribution.toFixed(4)}`,
      "--strength": Math.abs(one.attribution) / strongest,
    }, text)));
  const figure = (name, value, chance = "") => element("tr", {}, element("td", {}, name), element("td", { className: "number" }, value), element("td", { className: "number" }, chance));
  const faithful = found.faithfulness;
  get("why").replaceChildren(
    element("h2", {}, `Why ${found.target}?`),
    element("p", {}, element("span", { className: "key for" }, "speaks for it"), " ", element("span", { className: "key against" }, "speaks against it")),
    ...texts,
    table(["", "", " by chance"], [
      figure("Score", number(found.score)),
      figure("Score of a blank text", number(found.blank_score)),
      figure("Falls without the sub-words that speak most for it (the more, the better)", faithful.comprehensiveness.toFixed(4), faithful.random_comprehensiveness.toFixed(4)),
      figure("Falls with these alone (the less, the better)", faithful.sufficiency.toFixed(4), faithful.random_sufficiency.toFixed(4)),
      figure(`Error of the sum, in ${found.steps} steps`, found.convergence_error.toExponential(1)),
    ]));
  get("why").hidden = false;
}

// ---- Asking

async function ask(path, body) {
  const headers = { "Content-Type": "application/json" };
  const key = get("key").value.trim();
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const reply = await response.json();
  if (!response.ok) {
    if (response.status === 401) get("key").focus();
    throw new Error(reply.error);
  }
  return reply;
}

async function working(state, work) {
  get("error").hidden = true;
  get("ask").disabled = true;
  get("state").textContent = state;
  const since = performance.now();
  try {
    const made = await work();
    get("state").textContent = `${Math.round(performance.now() - since)} ms`;
    return made;
  } catch (error) {
    get("state").textContent = "";
    get("error").textContent = error instanceof TypeError ? `The endpoint does not answer: ${error.message}.` : error.message;
    get("error").hidden = false;
    return null;
  } finally {
    get("ask").disabled = false;
  }
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error(`The file cannot be read: ${reader.error.message}`));
    reader.readAsDataURL(file);
  });
}

async function inputOfForm() {
  const input = {};
  for (const { name, kind, required } of about.takes) {
    const field = get(`field-${name}`);
    if (kind === "file") {
      if (!field.files.length && field.dataset.example === undefined) throw new Error(`Choose a file for ${name}.`);
      input[name] = field.files.length ? await base64(field.files[0]) : field.dataset.example;
    } else if (required || field.value !== "") {
      input[name] = kind === "number" ? Number(field.value) : field.value;
    }
  }
  return input;
}

async function predict(why = null) {
  for (const id of ["result", "why", "raw"]) get(id).hidden = true;
  let input = null;
  const reply = await working("Asking …", async () => {
    input = await inputOfForm();
    return ask("v1/predict", { inputs: input });
  });
  if (reply === null) return;
  const show = KINDS[about.gives] ?? ((output) => [element("pre", {}, JSON.stringify(output, null, 2))]);
  get("result").replaceChildren(...show(reply.outputs, input).filter((one) => one !== null));
  get("json").textContent = JSON.stringify(reply, null, 2);
  get("result").hidden = get("raw").hidden = false;
  if (why !== null && about.explains) await explain(input, why === "" ? null : /^\d+$/.test(why) && about.gives === "Entities" ? Number(why) : why);
}

// ---- The form

function fieldOf({ name, kind, required, default: usual }) {
  const id = `field-${name}`;
  const title = name.replaceAll("_", " ");
  const optional = required || kind === "number" ? null : element("small", {}, " may be left out");
  const made = element("div", { className: "field" }, element("label", { for: id }, title[0].toUpperCase() + title.slice(1), optional));
  if (kind === "file") {
    const input = element("input", { id, type: "file", accept: name === "image" ? "image/*" : name === "audio" ? ".wav,audio/wav" : "" });
    const preview = element("img", { alt: "The chosen image", hidden: true });
    input.addEventListener("change", () => {
      delete input.dataset.example;
      preview.hidden = !(name === "image" && input.files.length);
      if (!preview.hidden) preview.src = URL.createObjectURL(input.files[0]);
    });
    made.append(input, preview);
  } else if (kind === "number") {
    made.append(element("input", { id, type: "number", min: 1, value: usual ?? "" }));
  } else {
    const input = element("textarea", { id, rows: name === "question" || !required ? 1 : 3, dir: "auto", required });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) get("form").requestSubmit();
    });
    made.append(input);
  }
  return made;
}

function fill(values) {
  for (const { name, kind } of about.takes) {
    const field = get(`field-${name}`);
    if (values[name] === undefined) continue;
    if (kind === "file") {
      field.value = "";
      field.dataset.example = values[name];
      const preview = field.nextElementSibling;
      preview.hidden = name !== "image";
      if (!preview.hidden) preview.src = `data:image/png;base64,${values[name]}`;
    } else field.value = values[name];
  }
}

// A link such as #text=Ada%20moved&why=0 fills the form, asks, and asks why.
async function fromAddress() {
  const values = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  if (!about.takes.some(({ name, kind }) => kind !== "file" && name in values)) return;
  fill(Object.fromEntries(about.takes.filter(({ kind }) => kind !== "file").map(({ name }) => [name, values[name]])));
  await predict(values.why ?? null);
}

async function begin() {
  about = await working("", async () => {
    const response = await fetch("v1/about");
    const reply = await response.json();
    if (!response.ok) throw new Error(reply.error);
    return reply;
  });
  if (about === null) return;
  get("state").textContent = "";
  document.title = `${about.model} - Motley`;
  get("model").replaceChildren(about.model, " ", element("small", {}, `version ${about.version}`));
  get("asks").textContent = about.asks;
  get("limits").textContent = ` · at most ${about.limits.characters.toLocaleString("en")} characters at once`;
  get("fields").replaceChildren(...about.takes.map(fieldOf));
  get("key-row").hidden = !about.asks_for_key;
  get("form").addEventListener("submit", (event) => {
    event.preventDefault();
    predict();
  });
  get("example").addEventListener("click", () => {
    fill(about.example.input);
    predict();
  });
  get("form").hidden = false;
  addEventListener("hashchange", fromAddress);
  await fromAddress();
}

begin();
