"use strict";
const element = id => document.getElementById(id);
const data = JSON.parse(element("data").textContent);

const dark = matchMedia("(prefers-color-scheme: dark)");
element("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
});
