"use strict";
// The heads of a table become buttons that sort its rows; without a script they are plain text.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.textContent.trim();
    return { missing: text === "–", number: Number(cell.dataset.value ?? NaN), text };
  };
  const compare = (a, b) =>
    Number.isNaN(a.number) || Number.isNaN(b.number)
      ? a.text.localeCompare(b.text, undefined, { numeric: true })
      : a.number - b.number;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [key(row, column), row]);
      // What is not known stands last, whichever way the rest is sorted.
      rows.sort(([a], [b]) => a.missing - b.missing || sign * compare(a, b));
      body.append(...rows.map(([, row]) => row));
    });
  });
}
