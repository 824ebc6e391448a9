// A line knows the number of its source line, data-s; lines of one view with one number belong together.

function others(line) {
  const view = line.closest(".view");
  return [...view.querySelectorAll(`li[data-s="${line.dataset.s}"]`)];
}

let lit = [];
let pinned = null;

function light(line) {
  for (const old of lit) old.classList.remove("lit");
  lit = line && line.dataset.s !== undefined ? others(line) : [];
  for (const one of lit) one.classList.add("lit");
}

// In the other pane, the first lit line comes into view; the page itself does not move.
function reveal(line) {
  const pane = line.closest(".lines");
  const seen = new Set([pane]);
  for (const one of lit) {
    const other = one.closest(".lines");
    if (seen.has(other)) continue;
    seen.add(other);
    const above = one.offsetTop - other.offsetTop;
    if (above < other.scrollTop || above > other.scrollTop + other.clientHeight - 2 * one.offsetHeight)
      other.scrollTop = above - other.clientHeight / 3;
  }
}

document.addEventListener("pointerover", event => {
  const line = event.target.closest?.(".lines li");
  if (event.pointerType === "touch") return;
  light(line || pinned);
});

document.addEventListener("click", event => {
  const line = event.target.closest?.(".lines li[data-s]");
  if (line) activate(line);
  else if (!event.target.closest?.(".lines")) { pinned = null; light(null); }
});

function activate(line) {
  const pane = line.closest(".lines");
  pane.querySelector(".active")?.classList.remove("active");
  line.classList.add("active");
  line.id ||= `line-${Math.random().toString(36).slice(2)}`;
  for (const option of pane.querySelectorAll("[aria-selected]")) option.removeAttribute("aria-selected");
  line.setAttribute("aria-selected", "true");
  pane.setAttribute("aria-activedescendant", line.id);
  pinned = line;
  light(line);
  reveal(line);
  const above = line.offsetTop - pane.offsetTop;
  if (above < pane.scrollTop) pane.scrollTop = above;
  else if (above + line.offsetHeight > pane.scrollTop + pane.clientHeight)
    pane.scrollTop = above + line.offsetHeight - pane.clientHeight;
}

document.addEventListener("keydown", event => {
  const pane = event.target.closest?.(".lines");
  if (!pane) return;
  const lines = [...pane.querySelectorAll('li[role="option"]')];
  const at = lines.findIndex(line => line.classList.contains("active"));
  const steps = {ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -lines.length, End: lines.length};
  if (event.key in steps) {
    const to = at < 0 && steps[event.key] > 0 ? 0 : Math.max(0, Math.min(lines.length - 1, at + steps[event.key]));
    activate(lines[to]);
  } else if (event.key === "Enter" && at >= 0) {
    const over = lit.find(line => line.closest(".lines") !== pane);
    if (over) { over.closest(".lines").focus(); activate(over); }
  } else if (event.key === "Escape") {
    pinned = null;
    light(null);
  } else return;
  event.preventDefault();
});

document.addEventListener("focusin", event => {
  const pane = event.target.closest?.(".lines");
  const active = pane?.querySelector(".active") || pane?.querySelector("li[data-s].hot") || pane?.querySelector("li[data-s]");
  if (pane && active && event.target.matches(":focus-visible")) activate(active);
});

// Each listing begins at its hot loop.
for (const pane of document.querySelectorAll(".lines")) {
  const hot = pane.querySelector(".hot");
  if (hot) pane.scrollTop = Math.max(0, hot.offsetTop - pane.offsetTop - pane.clientHeight / 4);
}
