"use strict";
// Sorting and filtering of tables. Without it the page says the same.
(() => {
  const SEARCHED = 12; // Rows from which on a table can be filtered.
  const TALL = 40;

  const text = (row, column) => (row.cells[column] ? row.cells[column].textContent.trim() : "");
  const value = (told) => {
    const number = Number(told.replace(/[,\s\u00a0%]/g, "").replace(/(GB|MB|kB|B|s)$/, ""));
    const unit = { GB: 1e9, MB: 1e6, kB: 1e3 }[(told.match(/(GB|MB|kB)$/) || [])[0]] || 1;
    return told === "" || Number.isNaN(number) ? null : number * unit;
  };
  const order = new Intl.Collator(undefined, { numeric: true }).compare;

  function sort(table, column, button) {
    const head = button.parentElement;
    const descending = head.getAttribute("aria-sort") !== "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].filter((row) => !row.classList.contains("total"));
    const totals = [...body.rows].filter((row) => row.classList.contains("total"));
    const told = rows.map((row) => text(row, column));
    const numbers = told.map(value);
    const numeric = numbers.filter((n) => n !== null).length * 2 > rows.length;
    const places = rows.map((_, place) => place).sort((a, b) => {
      const rank = numeric
        ? (numbers[a] === null) - (numbers[b] === null) || (numbers[a] - numbers[b]) * (descending ? -1 : 1)
        : order(told[a], told[b]) * (descending ? -1 : 1);
      return rank || a - b;
    });
    body.append(...places.map((place) => rows[place]), ...totals);
  }

  function search(table, frame) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const found = document.createElement("span");
    label.className = "find";
    input.type = "search";
    input.setAttribute("aria-label", "Filter: " + table.caption.textContent);
    input.placeholder = "Filter rows";
    found.setAttribute("role", "status");
    label.append(input, found);
    frame.before(label);
    const rows = [...table.tBodies[0].rows].filter((row) => !row.classList.contains("total"));
    const told = rows.map((row) => row.textContent.toLowerCase());
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, place) => {
        row.hidden = !wanted.every((word) => told[place].includes(word));
        shown += !row.hidden;
      });
      found.textContent = wanted.length ? `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows` : "";
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const rows = table.tBodies[0].rows.length;
    const frame = table.parentElement;
    if (rows > SEARCHED) search(table, frame);
    if (rows > TALL) frame.classList.add("tall");
    if (rows < 2) continue;
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => sort(table, column, button));
    });
  }
})();
