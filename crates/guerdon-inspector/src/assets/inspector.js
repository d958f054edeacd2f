// Keys, and the buttons that copy. Everything else works without a script.
"use strict";

/** Where j and k go: the rows of the first list that is on the page. */
function rows() {
  const list = document.querySelector("[data-rows]");
  if (!list) return [];
  return [...(list.tagName === "TABLE" ? list.tBodies[0].rows : list.children)];
}

/** Moves to the next (1) or the previous (-1) row. */
function move(by) {
  const all = rows();
  if (all.length === 0) return;
  const now = all.findIndex((row) => row.classList.contains("current"));
  const next = Math.min(Math.max(now + by, 0), all.length - 1);
  all.forEach((row) => row.classList.remove("current"));
  all[next].classList.add("current");
  const target = all[next].querySelector("th a") || all[next];
  target.focus({ preventScroll: true });
  all[next].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "u") document.querySelector("[data-up]")?.click();
  else if (event.key === "/") {
    const field = document.querySelector("form.filter input, form.filter select");
    if (!field) return;
    event.preventDefault();
    field.focus();
  }
});

/** The text of the command, with the selected phrase in place of PHRASE. */
function commandText(element, phrase) {
  const text = element.textContent;
  if (!phrase) return text;
  return text.replace(/'PHRASE'$/, () => "'" + phrase.replaceAll("'", "'\\''") + "'");
}

// A click ends the selection, so the last one within a message is kept.
let selected = "";
document.addEventListener("selectionchange", () => {
  const selection = document.getSelection();
  const text = selection ? selection.toString().trim() : "";
  if (text && selection.anchorNode?.parentElement?.closest(".message .text")) {
    selected = text.slice(0, 200);
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const element = document.querySelector(button.dataset.copy);
  if (!element) return;
  let text = commandText(element, selected);
  if (text.includes("-sS /v1/score")) {
    text = text.replace("-sS /v1/score", "-sS " + location.origin + "/v1/score");
  }
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(element);
    document.getSelection().removeAllRanges();
    document.getSelection().addRange(range);
    button.textContent = "Selected: copy with the keyboard";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

// A form of filters leaves empty fields out of the URL.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form.filter")) return;
  for (const field of event.target.querySelectorAll("input, select")) {
    if (field.value === "") field.disabled = true;
  }
});

// The workbench checks a text some time after the last key; one check at a time.
let pending = 0;
let checking = false;
async function check(form) {
  if (checking) { pending = setTimeout(check, 400, form); return; }
  checking = true;
  try {
    const body = new URLSearchParams(new FormData(form));
    body.set("action", "check");
    // `form.action` would be the buttons of that name.
    const reply = await fetch(form.getAttribute("action"), { method: "POST", body, redirect: "error" });
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const found = page.querySelector("#result");
    if (found) document.querySelector("#result").replaceWith(found);
  } catch { /* The button still works, and says what is wrong. */ }
  checking = false;
}
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-live]");
  if (!form) return;
  clearTimeout(pending);
  pending = setTimeout(check, 900, form);
});
