"""Runs the script of the page on a description, with as much of a browser as it needs.

page.py SCRIPT DESCRIPTION prints, as JSON, what was asked for, what is said, and each operation that is shown.
"""

import os
import sys

from py_mini_racer import MiniRacer

BROWSER = """
class Element {
  constructor(name) { Object.assign(this, { name, children: [], attributes: {}, listeners: {}, value: "" }); }
  setAttribute(key, value) { this.attributes[key] = value; }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  addEventListener(kind, listener) { this.listeners[kind] = listener; }
  set textContent(text) { this.children = [text]; }
  get textContent() { return this.children.map((it) => it.textContent ?? it).join(""); }
  all(name) { return this.children.flatMap((it) => it.all ? [...(it.name === name ? [it] : []), ...it.all(name)] : []); }
}
const elements = {}, asked = [];
const document = {
  createElement: (name) => new Element(name),
  getElementById: (id) => elements[id] ??= new Element(id),
};
const location = { href: "https://api.example/docs" };
class URL { constructor(relative, base) { this.href = base.slice(0, base.lastIndexOf("/") + 1); } }
async function fetch(path, { headers }) {
  asked.push(`${path} ${headers.Authorization}`);
  return { ok: true, json: async () => DESCRIPTION };
}
"""
SHOWN = """
JSON.stringify({
  asked,
  said: elements.said.textContent,
  operations: elements.operations.all("details").map((it) => ({
    id: it.attributes.id, line: it.all("summary")[0].textContent, command: it.all("pre")[0].textContent,
    text: it.textContent,
  })),
})
"""

script, description = (open(name, encoding="utf-8").read() for name in sys.argv[1:])
page = MiniRacer()
page.eval(BROWSER + f"const DESCRIPTION = {description};")
page.eval(script)
page.eval('document.getElementById("token").value = " t "; elements.entry.listeners.submit({ preventDefault() {} })').get(timeout=20)
print(page.eval(SHOWN), flush=True)
# On a busy machine V8's threads may keep the interpreter from ending.
os._exit(0)
