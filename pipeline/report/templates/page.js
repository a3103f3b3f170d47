"use strict";
// Tables that sort and filter. Without script all rows are there; nothing here makes markup from text.
const SHOWN = 12;
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function sortKey(row, column) {
  const cell = row.cells[column];
  if (!cell) return "";
  return "v" in cell.dataset ? (cell.dataset.v === "" ? null : Number(cell.dataset.v)) : cell.textContent.trim();
}

function compare(a, b, sign) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  return sign * (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));
}

function enhance(table) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const headers = Array.from(table.tHead.rows[0].cells);
  if (rows.length < 2) return;
  const region = table.closest(".scroll");
  const caption = table.caption.textContent.trim();
  let order = rows, wanted = "", all = rows.length <= SHOWN + 3;

  const tools = make("div", "tools");
  const status = make("span", "status");
  status.setAttribute("role", "status");
  const more = make("button", "more");
  more.type = "button";

  function show() {
    const matching = order.filter((row) => !wanted || row.textContent.toLowerCase().includes(wanted));
    const visible = new Set(all || wanted ? matching : matching.slice(0, SHOWN));
    for (const row of rows) row.hidden = !visible.has(row);
    status.textContent = wanted ? `${matching.length} of ${rows.length} rows` : "";
    more.hidden = rows.length <= SHOWN + 3 || wanted !== "";
    more.textContent = all ? `Show the first ${SHOWN}` : `Show all ${rows.length.toLocaleString("en")}`;
    more.setAttribute("aria-expanded", String(all));
  }

  headers.forEach((header, column) => {
    const button = make("button", "sort");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const numeric = rows.some((row) => row.cells[column] && "v" in row.cells[column].dataset);
      const before = header.getAttribute("aria-sort");
      // Numbers are asked for the greatest first, names from A on; the third click gives the page's own order back.
      const steps = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
      const next = steps[(steps.indexOf(before) + 1) % 3];
      for (const other of headers) other.removeAttribute("aria-sort");
      if (next) header.setAttribute("aria-sort", next);
      const sign = next === "descending" ? -1 : 1;
      const keys = new Map(rows.map((row) => [row, sortKey(row, column)]));
      order = next ? [...rows].sort((a, b) => compare(keys.get(a), keys.get(b), sign)) : rows;
      body.append(...order);
      show();
    });
  });

  if (rows.length > SHOWN) {
    const input = make("input", "filter");
    input.type = "search";
    input.placeholder = "Filter";
    input.setAttribute("aria-label", `Filter: ${caption}`);
    input.addEventListener("input", () => {
      wanted = input.value.trim().toLowerCase();
      show();
    });
    tools.append(input, status);
    region.before(tools);
  }
  more.addEventListener("click", () => {
    all = !all;
    show();
  });
  region.after(more);
  show();
}

function watchSections() {
  const links = new Map(Array.from(document.querySelectorAll("nav a"), (link) => [link.hash.slice(1), link]));
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.isIntersecting ? seen.add(entry.target.id) : seen.delete(entry.target.id);
    let first = true;
    for (const [id, link] of links) {
      const here = first && seen.has(id);
      if (here) first = false;
      here ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-10% 0px -60% 0px" });
  for (const id of links.keys()) {
    const section = document.getElementById(id);
    if (section) watcher.observe(section);
  }
}

document.querySelectorAll("table.data").forEach(enhance);
watchSections();
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
