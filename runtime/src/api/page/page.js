// Reads the description of the API with the token that is entered, and shows what it says. The token is kept nowhere.
"use strict";

const METHODS = ["get", "head", "put", "patch", "post", "delete"];
// How deep schemas are followed: they may contain themselves.
const DEEPEST = 8;
let description = {};

const at = (id) => document.getElementById(id);

// An element. Children that are texts stay texts: nothing of a description is taken for markup.
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.flat(9).filter((child) => child !== undefined && child !== ""));
  return made;
}

const code = (text) => element("code", {}, text);
const json = (value) => JSON.stringify(value, null, 2);

// What stands at a place of the description, as in #/components/schemas/x.
function find(place) {
  const plain = (part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
  const parts = place.slice(2).split("/").map(plain);
  return parts.reduce((value, part) => value?.[part], description);
}

// What is meant, where it stands elsewhere.
function resolve(value) {
  for (let n = 0; value?.$ref && n < DEEPEST; n++) {
    const { $ref, ...more } = value;
    const found = find($ref);
    value = Object.keys(more).length && typeof found === "object" ? { ...found, ...more } : found;
  }
  return value;
}

// A schema in which what holds besides it is part of it.
function whole(schema) {
  schema = resolve(schema);
  if (typeof schema !== "object" || schema === null) return {};
  return (schema.allOf ?? []).map(whole).reduce((all, part) => ({
    ...all,
    ...part,
    properties: { ...all.properties, ...part.properties },
    required: [...(all.required ?? []), ...(part.required ?? [])],
  }), schema);
}

const alternatives = (schema) => schema.oneOf ?? schema.anyOf ?? [];
const kinds = (schema) => [schema.type ?? (schema.properties ? "object" : [])].flat();

// Something that keeps to a schema, as far as can be told.
function example(schema, depth = 0) {
  schema = whole(schema);
  for (const known of [schema.examples?.[0], schema.example, schema.default, schema.const, schema.enum?.[0]]) {
    if (known !== undefined) return known;
  }
  if (depth > DEEPEST) return null;
  if (alternatives(schema).length) return example(alternatives(schema)[0], depth + 1);
  switch (kinds(schema)[0]) {
    case "object": {
      // Further inside only what has to be there.
      const isShown = ([name]) => depth < 3 || schema.required?.includes(name);
      const members = Object.entries(schema.properties ?? {}).filter(isShown);
      return Object.fromEntries(members.map(([name, member]) => [name, example(member, depth + 1)]));
    }
    case "array":
      return (schema.prefixItems ?? [schema.items ?? true]).map((item) => example(item, depth + 1));
    case "string": {
      const known = { "date-time": "2026-01-31T12:00:00Z", date: "2026-01-31", email: "ada@example.com",
        uuid: "3f0c2b1e-7d4a-4c6e-9a51-0b8f6d2e4a10", uri: "https://example.com/" };
      return known[schema.format] ?? "text".padEnd(schema.minLength ?? 0, "t");
    }
    case "integer":
    case "number":
      return schema.minimum ?? (schema.exclusiveMinimum === undefined ? 1 : schema.exclusiveMinimum + 1);
    case "boolean":
      return true;
    case "null":
      return null;
    default:
      return {};
  }
}

const LIMITS = ["format", "const", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum",
  "exclusiveMaximum", "minItems", "maxItems", "default"];

// A schema in one line.
function brief(schema) {
  schema = whole(schema);
  const of = schema.items ? ` of ${brief(schema.items)}` : "";
  const limits = LIMITS.filter((name) => schema[name] !== undefined);
  return [
    kinds(schema).join(" or ") + of || alternatives(schema).map(brief).join(" or ") || (schema.enum ? "" : "anything"),
    schema.enum && `one of ${schema.enum.map((value) => JSON.stringify(value)).join(", ")}`,
    ...limits.map((name) => `${name} ${JSON.stringify(schema[name])}`),
    schema.additionalProperties === false && "no other members",
  ].filter(Boolean).join(", ");
}

// The members of a schema, and theirs; what stands `above` may stand in itself again.
function members(schema, above = []) {
  const place = resolve(schema);
  if (typeof place !== "object" || place === null) return [];
  if (above.includes(place) || above.length > DEEPEST) return [element("span", { class: "note" }, " (as above)")];
  const inside = [...above, place];
  schema = whole(schema);
  const rows = Object.entries(schema.properties ?? {}).map(([name, member]) => element("li", {},
    code(name), ` ${brief(member)}`, schema.required?.includes(name) ? element("strong", {}, ", required") : "",
    members(member, inside),
    whole(member).description ? element("div", { class: "note" }, whole(member).description) : ""));
  const inner = [schema.items, ...alternatives(schema)].filter(Boolean);
  return [rows.length ? element("ul", { class: "members" }, rows) : "", inner.map((it) => members(it, inside))];
}

// What is sent or comes back, by media type. Problems all look alike.
function bodies(content, shows) {
  const types = Object.entries(content ?? {}).filter(([, { schema }]) => schema !== undefined);
  return types.map(([type, { schema }]) => (type === "application/problem+json" ? code(type) : [
    element("p", {}, code(type), ` ${brief(schema)}`),
    whole(schema).description ? element("p", { class: "note" }, whole(schema).description) : "",
    members(schema),
    shows ? element("pre", {}, json(example(schema))) : "",
  ]));
}

function table(heads, rows) {
  const cells = (name, values) => element("tr", {}, values.map((value) => element(name, {}, value)));
  return element("table", {}, cells("th", heads), rows.map((row) => cells("td", row)));
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// The same request for a terminal, with the token from a variable.
function curl(path, method, parameters, content) {
  const address = new URL(".", location.href).href + path.slice(1);
  const filled = address.replaceAll(/\{(\w+)\}/g, (_, name) => name.toUpperCase());
  const needed = parameters.filter((it) => it.in === "query" && it.required);
  const query = needed.map((it) => `${it.name}=${encodeURIComponent(example(it.schema))}`).join("&");
  const verb = { get: "", head: "--head " }[method] ?? `-X ${method.toUpperCase()} `;
  const lines = [`curl ${verb}${quoted(filled + (query && `?${query}`))}`, '-H "Authorization: Bearer $TOKEN"'];
  const [type, body] = Object.entries(content ?? {})[0] ?? [];
  if (type) lines.push(`-H ${quoted(`Content-Type: ${type}`)}`, `-d ${quoted(JSON.stringify(example(body.schema)))}`);
  return lines.join(" \\\n  ");
}

function copyable(text) {
  const button = element("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    button.textContent = done ? "Copied" : "Select the text to copy it";
  });
  return element("div", { class: "curl" }, element("pre", {}, text), button);
}

function operation(path, method, shared, told) {
  const parameters = [...shared, ...(told.parameters ?? [])].map(resolve);
  const content = resolve(told.requestBody)?.content;
  const rows = parameters.map((it) =>
    [code(it.name), it.in + (it.required ? ", required" : ""), brief(it.schema), it.description ?? ""]);
  const responses = Object.entries(told.responses ?? {}).map(([status, response]) =>
    [code(status), resolve(response).description ?? "", bodies(resolve(response).content, false)]);
  return element("details", { class: "operation", id: told.operationId ?? `${method} ${path}` },
    element("summary", {}, element("span", { class: `method ${method}` }, method.toUpperCase()), code(path),
      element("span", { class: "summary" },
        `${told.deprecated ? "deprecated: " : ""}${told.summary ?? told.operationId ?? ""}`)),
    element("div", {},
      told.description ? element("p", {}, told.description) : "",
      copyable(curl(path, method, parameters, content)),
      rows.length ? [element("h3", {}, "Parameters"), table(["name", "in", "what", ""], rows)] : "",
      content ? [element("h3", {}, "Body"), bodies(content, true)] : "",
      element("h3", {}, "Answers"), table(["status", "", "what"], responses)));
}

// All operations, by target.
function show() {
  const sections = new Map();
  for (const [path, item] of Object.entries(description.paths ?? {})) {
    const group = path.split("/").slice(1, 3).join("/");
    const operations = METHODS.filter((method) => item[method]);
    const made = operations.map((method) => operation(path, method, item.parameters ?? [], item[method]));
    sections.set(group, [...(sections.get(group) ?? []), ...made]);
  }
  const made = [...sections].map(([group, all]) => element("section", {}, element("h2", {}, group), all));
  at("operations").replaceChildren(...made);
  return [...sections.values()].flat().length;
}

function say(text, isWrong) {
  at("said").textContent = text;
  at("said").setAttribute("class", isWrong ? "wrong" : "");
}

async function enter(event) {
  event.preventDefault();
  at("operations").replaceChildren();
  try {
    const headers = { Authorization: `Bearer ${at("token").value.trim()}` };
    const answer = await fetch("openapi.json", { headers, cache: "no-store" });
    const told = await answer.json();
    if (!answer.ok) return say(`${told.title}: ${told.detail}`, true);
    description = told;
    at("filter").disabled = false;
    const n = show();
    say(`${n} operations. The commands take the token from the variable TOKEN.`);
  } catch (error) {
    say(`The description did not come: ${error.message}`, true);
  }
}

// Only the operations that hold the text in their line.
function narrow() {
  const wanted = at("filter").value.toLowerCase();
  for (const one of document.querySelectorAll("details.operation")) {
    one.hidden = !one.querySelector("summary").textContent.toLowerCase().includes(wanted);
  }
}

at("entry").addEventListener("submit", enter);
at("filter").addEventListener("input", narrow);
