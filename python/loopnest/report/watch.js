// The page of `loopnest watch`. It shows `data.saves`; while its server lives, it asks for more. Everything that comes
// from the file or from a compiler is written as text.
let chosen = null; // a save's number; null: the newest

function make(tag, text = "", classes = "", ...children) {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = classes;
  made.append(...children);
  return made;
}

const fill = (id, ...children) => element(id).replaceChildren(...children);
const current = () => data.saves.find(save => save.number === chosen) || data.saves.at(-1);

function choose(number) {
  chosen = number === data.saves.at(-1).number ? null : number;
  draw();
  document.querySelector('#saves [aria-pressed="true"]').focus();
}

function row(r, number, rows) {
  const made = make("div", "", (r.hot ? "hot " : "") + (r.new ? "new" : ""),
    make("span", number ?? ""), make("span", r.text), make("span", r.note));
  made.dataset.line = r.line ?? "";
  return made;
}

function same(line) { // marks the line of source, and what became of it
  for (const one of document.querySelectorAll(".lines > div"))
    one.classList.toggle("same", Boolean(line) && one.dataset.line === line);
}
for (const kind of ["mouseover", "mouseleave"])
  for (const id of ["source", "code"])
    element(id).addEventListener(kind, event => same(event.target.closest(".lines > div")?.dataset.line));

function status() {
  element("live").textContent = data.live ? data.busy ? `${data.busy} …` : "watching: save the file, and it is judged again" : data.ended;
}

function draw() {
  status();
  const s = current();
  if (!s) return;
  element("verdict").className = s.right ? "right" : "wrong";
  fill("verdict", make("strong", `${s.right ? "✓" : "✗"} ${s.verdict}`), make("p", s.sentence),
    ...s.details.length ? [make("pre", s.details.join("\n"))] : [],
    ...s.notes.map(text => make("p", text, "note")),
    make("p", `save ${s.number}, ${s.time}, judged in ${s.took}`, "note"));
  const most = Math.max(...data.saves.map(save => save.share || 0), 1e-9);
  fill("saves", ...data.saves.map(save => {
    const share = save.share === null ? save.ladder.length ? "noise" : "" : `${save.share.toPrecision(2)} %`;
    const made = make("button", "", save.right ? "right" : "wrong", make("span", share), make("span", `${save.right ? "✓" : "✗"} ${save.number}`));
    made.type = "button";
    made.style.setProperty("--part", `${4.5 * (save.share || 0) / most}rem`);
    made.setAttribute("aria-pressed", save === s);
    made.setAttribute("aria-label", `save ${save.number}, ${save.time}, ${save.verdict} ${share}`);
    made.addEventListener("click", () => choose(save.number));
    return made;
  }));
  const ladder = s.ladder.map(([name, time, part, share]) => {
    const bar = make("td", share, "share");
    bar.style.setProperty("--part", `${Math.min(part, 100)}%`);
    return make("tr", "", name ? "" : "own", make("td", name || data.file), make("td", time, "number"), bar);
  });
  fill("ladder", s.ladder.length ? make("table", "", "", make("thead", "", "", make("tr", "", "",
    make("th", s.workload), make("th", "median", "number"), make("th", "of the limit"))), make("tbody", "", "", ...ladder))
    : make("p", "not timed"));
  fill("source", ...s.source.map((r, n) => row(r, n + 1)));
  const hot = s.code.some(r => r.hot) && !element("whole").checked;
  fill("code", ...s.code.filter(r => r.hot || !hot).map(r => row(r, r.line)), ...s.code.length ? [] : [make("p", s.why_not)]);
  fill("sums", s.sums.join("\n"));
}

element("whole").addEventListener("change", draw);
document.addEventListener("keydown", event => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], at = data.saves.indexOf(current()) + step;
  if (step && data.saves[at] && !event.target.closest(".lines, input")) choose(data.saves[at].number);
});

// --- the page as one file

function saved() {
  const copy = document.documentElement.cloneNode(true);
  const state = { ...data, live: false, ended: `saved ${new Date().toLocaleString()}` };
  copy.querySelector("#data").textContent = JSON.stringify(state).replace(/</g, "\\u003c");
  for (const id of ["live", "verdict", "saves", "ladder", "source", "code", "sums"]) copy.querySelector(`#${id}`).replaceChildren();
  return `<!doctype html>\n${copy.outerHTML}`;
}

element("save").addEventListener("click", () => {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([saved()], { type: "text/html" }));
  link.download = `${data.file}.html`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});

async function follow() {
  while (data.live) {
    try {
      const answer = await fetch(`state?seen=${data.version}&after=${data.saves.at(-1)?.number ?? 0}`);
      const { saves, ...rest } = await answer.json();
      Object.assign(data, rest, { saves: [...data.saves, ...saves].slice(-100) });
      saves.length ? draw() : status(); // what is not new keeps its place and the focus
    } catch {
      Object.assign(data, { live: false, ended: "the watch has ended; the page stays, and can be saved" });
      status();
    }
  }
}
draw();
follow();
