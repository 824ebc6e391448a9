// The page's data are records, one a row. Everything that is shown of a record comes from there.
const records = data.rows.map(row => Object.fromEntries(data.columns.map((name, i) => [name, row[i]])));
records.forEach((r, i) => {
  r.number = i;
  r.backend = r.impl.split(".")[0];
  r.text = [r.study, r.section, r.operation, r.impl, r.case, r.workload, r.dtype].join(" ").toLowerCase();
});

// --- figures as the terminal writes them

function threeDigits(x) {
  if (!x) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(x))));
  const scale = 10 ** (2 - Math.floor(Math.log10(Math.abs(x))));
  return (digits ? x : Math.round(x * scale) / scale).toLocaleString("en-US", {
    minimumFractionDigits: digits, maximumFractionDigits: digits,
  });
}

function duration(seconds) {
  for (const [scale, name] of [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]])
    if (seconds >= scale) return `${threeDigits(seconds / scale)} ${name}`;
  return `${threeDigits(seconds / 1e-9)} ns`;
}

function percent(r) {
  if (r.percent === null) return "";
  if (r.wrong) return "?";
  return r.percent >= 9.95 ? r.percent.toFixed(0) : r.percent >= 0.095 ? r.percent.toFixed(1) : r.percent.toFixed(2);
}

function moved(r) {
  return Object.entries(r.traffic || {}).map(([levels, bytes]) => levels === "simulated" ? bytes : `${levels} ${bytes}`).join(", ");
}

function about(r) {
  const lines = [
    [r.operation, r.impl, r.case].filter(Boolean).join(" · "),
    `${r.workload} · ${r.dtype} · ${r.threads} core${r.threads > 1 ? "s" : ""}`,
    `${duration(r.best)} (median ${duration(r.median)})`,
    `${threeDigits(r.gflops)} GFLOP/s · ${threeDigits(r.gbytes)} GB/s`,
  ];
  if (r.percent !== null)
    lines.push(r.wrong
      ? `beats the machine's limit of ${duration(r.limit)}: the limit or the count is wrong`
      : `${percent(r)} % of the machine's limit, ${duration(r.limit)} (${r.by}, ${r.level})`);
  if (r.traffic) lines.push(`simulated: ${moved(r)}`);
  return lines.join("\n");
}

// --- the table

const COLUMNS = [
  ["operation", r => r.operation],
  ["implementation", r => r.impl],
  ["study", r => r.study],
  ["case", r => r.case],
  ["workload", r => r.workload, r => Math.max(r.flops, r.bytes)],
  ["dtype", r => r.dtype],
  ["time", r => duration(r.best), r => r.best],
  ["median", r => duration(r.median), r => r.median],
  ["GFLOP/s", r => threeDigits(r.gflops), r => r.gflops],
  ["GB/s", r => threeDigits(r.gbytes), r => r.gbytes],
  ["% of limit", percent, r => r.wrong ? Infinity : r.percent ?? -1],
  ["cores", r => r.threads, r => r.threads],
  ["first call", r => duration(r.first_call), r => r.first_call],
];
if (records.some(r => r.traffic))
  COLUMNS.push(["moved between caches", moved]);
let sorting = null;
let shown = records;

const escaped = text => String(text).replace(/[&<>"]/g, c => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}[c]));

function fillTable() {
  const rows = [...shown];
  if (sorting) {
    const [, text, value] = COLUMNS[sorting.column];
    const key = value || text;
    const order = (a, b) => typeof a === "string" ? a.localeCompare(b) : a - b;
    rows.sort((a, b) => sorting.direction * order(key(a), key(b)));
  }
  element("results").tBodies[0].innerHTML = rows.map(r => `<tr data-record="${r.number}">${COLUMNS.map(([name, text, value]) => {
    const part = name === "% of limit" && r.percent !== null && !r.wrong ? ` style="--part:${Math.min(100, r.percent).toFixed(1)}%"` : "";
    const kind = (value && name !== "workload" ? "number" : "") + (name === "% of limit" ? " share" : "") + (name === "% of limit" && r.wrong ? " wrong" : "");
    return `<td class="${kind}"${part}>${escaped(text(r))}</td>`;
  }).join("")}</tr>`).join("");
}

function makeHeadings() {
  const row = element("results").tHead.rows[0];
  COLUMNS.forEach(([name, , value], column) => {
    const heading = document.createElement("th");
    heading.scope = "col";
    if (value && name !== "workload") heading.className = "number";
    const button = heading.appendChild(document.createElement("button"));
    button.textContent = name;
    button.addEventListener("click", () => {
      const again = sorting && sorting.column === column;
      sorting = {column, direction: again ? -sorting.direction : 1};
      for (const other of row.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", sorting.direction > 0 ? "ascending" : "descending");
      fillTable();
    });
    row.append(heading);
  });
}

// --- the filters

const filters = {operation: element("filter-operation"), backend: element("filter-backend"), dtype: element("filter-dtype")};
for (const [name, select] of Object.entries(filters)) {
  for (const value of new Set(records.map(r => r[name]))) select.add(new Option(value, value));
  select.addEventListener("change", filter);
}
element("filter-text").addEventListener("input", filter);
element("reset").addEventListener("click", () => {
  for (const select of Object.values(filters)) select.value = "";
  element("filter-text").value = "";
  filter();
});

function filter() {
  const words = element("filter-text").value.toLowerCase().split(/[\s,]+/).filter(Boolean);
  const fits = r => Object.entries(filters).every(([name, select]) => !select.value || r[name] === select.value)
    && words.every(word => r.text.includes(word));
  shown = records.filter(fits);
  const visible = new Set(shown.map(r => r.number));
  for (const figure of document.querySelectorAll("figure")) {
    const marks = [...figure.querySelectorAll(".mark")];
    for (const mark of marks) mark.classList.toggle("out", !visible.has(Number(mark.dataset.record)));
    figure.hidden = marks.length > 0 && marks.every(mark => mark.classList.contains("out"));
  }
  for (const part of document.querySelectorAll("section.part")) {
    part.hidden = [...part.querySelectorAll("figure")].every(figure => figure.hidden);
    document.querySelector(`nav a[href="#${part.id}"]`).hidden = part.hidden;
  }
  const all = shown.length === records.length;
  element("count").textContent = all ? `${records.length} results` : `${shown.length} of ${records.length} results`;
  fillTable();
}

// --- the figures of a mark, and the lesson of its rung

const tip = element("tip");
document.addEventListener("pointermove", event => {
  const mark = event.target.closest?.(".mark");
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = about(records[Number(mark.dataset.record)]);
  const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  const y = event.clientY + 14 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 14;
  tip.style.left = `${Math.max(4, x)}px`;
  tip.style.top = `${Math.max(4, y)}px`;
});

function showRung(r) {
  const dialog = element("rung");
  const rung = data.rungs[`${r.operation} ${r.impl}`];
  dialog.querySelector("h2").textContent = `${r.operation} · ${r.impl}`;
  dialog.querySelector(".figures").textContent = about(r);
  dialog.querySelector(".lesson").textContent = rung ? rung.lesson : "This rung is not in the installation that made the page.";
  dialog.querySelector(".source code").textContent = rung ? rung.source : "";
  dialog.querySelector(".source").hidden = !rung;
  dialog.querySelector(".inside").textContent = rung?.command ? `${rung.command} shows its machine code.` : "";
  tip.hidden = true;
  dialog.showModal();
  dialog.scrollTop = 0;
}

document.addEventListener("click", event => {
  const of = event.target.closest?.(".mark, #results tbody tr");
  if (of) showRung(records[Number(of.dataset.record)]);
  if (event.target === element("rung")) element("rung").close(); // a click outside the dialog
});

makeHeadings();
filter();
