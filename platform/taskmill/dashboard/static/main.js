// @ts-check
// 页面自己的脚本：更新、时间、选择、按键。页面没有它也能看，动作才需要它。
/* global htmx, Idiomorph */

const GAP_MS = 2000; // 忙的时候也不比这更密地刷新
const POLL_MS = 5000; // 没有事件流时
const CALM_MS = 30000; // 有事件流也隔这么久看一次，防着漏掉
const TICK_MS = 10000; // 「多久以前」多久重写一次
const NOTICE_MS = 8000;

const body = document.body;
const page = /** @type {HTMLElement} */ (document.getElementById("page"));
const sign = document.getElementById("live");
const refresher = document.getElementById("refresh");
const zh = body.dataset.lang === "zh";

/* ── 更新 ─────────────────────────────────────────────── */

let paused = sessionStorage.getItem("paused") === "yes";
let streaming = false; // 事件流通着
let reached = true; // 上一次刷新有回答
let dirty = false;
let last = Date.now();
/** @type {number | undefined} */
let timer;

function show() {
  if (!sign) return;
  const shown = paused ? "paused" : reached ? "live" : "lost";
  sign.dataset.state = shown;
  sign.dataset.stream = streaming ? "open" : "closed";
  const word = sign.querySelector("span");
  if (word && word.textContent !== sign.dataset[shown]) word.textContent = sign.dataset[shown] ?? "";
}

function refresh() {
  if (!refresher || page.querySelector("[data-draft]")) return; // 正在填写的，不从手底下换掉
  if (paused || document.hidden) {
    dirty = true;
    return;
  }
  if (timer !== undefined) return;
  timer = window.setTimeout(() => {
    timer = undefined;
    last = Date.now();
    dirty = false;
    htmx.trigger(refresher, "refresh");
  }, Math.max(0, last + GAP_MS - Date.now()));
}

/** @param {MessageEvent} event */
function heard(event) {
  if (event.data.state) {
    const back = event.data.state === "live" && !streaming;
    streaming = event.data.state === "live";
    if (back) refresh(); // 断开期间发生了什么，谁也没说
  }
  /** @type {string[]} */
  const topics = event.data.topics ?? [];
  const mine = (page.dataset.topics ?? "").trim().split(" ");
  if (topics.includes("away") || topics.some((topic) => mine.includes(topic))) refresh();
  show();
}

function connect() {
  if (!("SharedWorker" in window)) return;
  const worker = new SharedWorker(body.dataset.worker ?? "", { name: "taskmill" });
  worker.port.onmessage = heard;
  window.addEventListener("pagehide", () => worker.port.postMessage("bye"));
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
}

function toggle() {
  paused = !paused;
  sessionStorage.setItem("paused", paused ? "yes" : "no");
  // 已经排上的那一次刷新也不做了
  window.clearTimeout(timer);
  timer = undefined;
  if (!paused) refresh();
  show();
}

if (refresher) {
  connect();
  sign?.addEventListener("click", toggle);
  document.addEventListener("visibilitychange", () => !document.hidden && dirty && refresh());
  window.setInterval(() => {
    const due = streaming && reached ? CALM_MS : POLL_MS;
    if (Date.now() - last >= due) refresh();
  }, 1000);
}

/* 由事件处理的结果：成了、没成、会话没了 */
body.addEventListener("htmx:afterRequest", (event) => {
  const detail = /** @type {CustomEvent} */ (event).detail;
  if (detail.elt !== refresher) return;
  const status = detail.xhr.status;
  if (status === 401) location.reload(); // 会话已结束：去登录，登录之后回到这里
  reached = status > 0 && status < 500;
  if (reached) document.querySelector("#notice [data-lost]")?.remove();
  show();
});
body.addEventListener("htmx:responseError", (event) => {
  const detail = /** @type {CustomEvent} */ (event).detail;
  // 填了一半的留在眼前，好抄下来；通知里说要重新登录
  if (detail.xhr.status === 401 && !page.querySelector("[data-draft]")) location.reload();
});
body.addEventListener("htmx:beforeSwap", (event) => {
  const detail = /** @type {CustomEvent} */ (event).detail;
  // 刷新没成：页面留着原样，只在角上说一声
  if (detail.elt === refresher && detail.xhr.status >= 400) detail.target = document.getElementById("notice");
});
body.addEventListener("htmx:afterSwap", (event) => {
  const detail = /** @type {CustomEvent} */ (event).detail;
  times(document);
  picked();
  const dialog = document.getElementById("dialog");
  if (detail.target === dialog && dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
  if (detail.target?.id === "notice") said(detail);
});
/** @type {number | undefined} */
let silence;

/** @param {any} detail */
function said(detail) {
  const note = document.querySelector("#notice > *");
  window.clearTimeout(silence);
  if (!note) return;
  if (detail.elt === refresher) note.setAttribute("data-lost", "");
  else if (note.hasAttribute("data-done")) silence = window.setTimeout(() => note.remove(), NOTICE_MS);
}

body.addEventListener("changed", () => {
  const dialog = document.getElementById("dialog");
  if (dialog instanceof HTMLDialogElement) dialog.close();
  for (const box of boxes()) box.checked = false;
  picked();
  last = 0; // 做了一件事的人马上要看到结果
  if (refresher) htmx.trigger(refresher, "refresh");
});

/* 合并时：用户打开的、选中的、脚本写的，都留着 */
Idiomorph.defaults.ignoreActiveValue = true;
Idiomorph.defaults.callbacks.beforeAttributeUpdated = (/** @type {string} */ name, /** @type {Element} */ node) =>
  !(name === "open" && node.nodeName === "DETAILS") && !(name === "disabled" && node.closest(".picked"));
Idiomorph.defaults.callbacks.beforeNodeMorphed = (/** @type {any} */ old, /** @type {any} */ fresh) => {
  if (old.nodeName === "INPUT" && old.type === "checkbox") return false;
  if (old.id === "picked" || old.id === "own") return false;
  // 焦点所在的元素里面不合并（为了不动正在打的字）：按钮上的字要自己换，否则「暂停」按下之后还写着「暂停」
  if (old === document.activeElement && /^(BUTTON|A|SUMMARY)$/.test(old.nodeName) && old.innerHTML !== fresh.innerHTML)
    old.innerHTML = fresh.innerHTML;
  if (old.nodeName === "TIME") return old.getAttribute("datetime") !== fresh.getAttribute("datetime");
  return true;
};

/* ── 时间 ─────────────────────────────────────────────── */

const ago = new Intl.RelativeTimeFormat(zh ? "zh-CN" : "en", { numeric: "auto", style: zh ? "long" : "short" });
const exact = new Intl.DateTimeFormat(zh ? "zh-CN" : "en", { dateStyle: "medium", timeStyle: "long" });
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** @param {ParentNode} root */
function times(root) {
  const now = Date.now();
  for (const each of root.querySelectorAll("time")) {
    const at = new Date(each.dateTime);
    const seconds = (at.getTime() - now) / 1000;
    const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
    const text = ago.format(Math.trunc(seconds / size), unit);
    if (each.textContent !== text) each.textContent = text;
    if (!each.title) each.title = `${exact.format(at)}\n${each.dateTime}`;
  }
}
times(document);
window.setInterval(() => !document.hidden && times(document), TICK_MS);

/* ── 选择 ─────────────────────────────────────────────── */

/** @returns {HTMLInputElement[]} */
function boxes() {
  return [...page.querySelectorAll("input[type=checkbox][name=id]")].map((box) => /** @type {HTMLInputElement} */ (box));
}

function picked() {
  const all = boxes();
  const n = all.filter((box) => box.checked).length;
  const said = document.getElementById("picked");
  if (said) {
    said.hidden = !n;
    said.textContent = (said.dataset.words ?? "").replace("{n}", String(n));
  }
  const head = /** @type {HTMLInputElement | null} */ (document.getElementById("all"));
  if (head) {
    head.checked = n > 0 && n === all.length;
    head.indeterminate = n > 0 && n < all.length;
  }
  for (const button of page.querySelectorAll(".picked button")) /** @type {HTMLButtonElement} */ (button).disabled = !n;
}
page.addEventListener("change", (event) => {
  const box = /** @type {HTMLInputElement} */ (event.target);
  if (box.id === "all") for (const each of boxes()) each.checked = box.checked;
  picked();
});
picked();

/* ── 按键与小事 ───────────────────────────────────────── */

document.addEventListener("click", async (event) => {
  const target = /** @type {Element} */ (event.target).closest("[data-copy], [data-close]");
  if (target?.hasAttribute("data-close")) target.closest("dialog")?.close();
  const from = target?.getAttribute("data-copy");
  if (from) await navigator.clipboard.writeText(document.querySelector(from)?.textContent ?? "");
});
for (const form of document.querySelectorAll(".prefs")) {
  form.addEventListener("submit", () => {
    const root = new URL(body.dataset.root ?? "./", location.href).pathname;
    const next = /** @type {HTMLInputElement} */ (form.querySelector("[name=next]"));
    next.value = location.pathname.slice(root.length) + location.search;
  });
}

const GO = { o: "", t: "tasks", f: "failures", q: "queues", s: "schedules", w: "workers", p: "plugins", y: "system" };
let going = 0;
let at = -1;

/** @param {number} step */
function move(step) {
  const rows = [...page.querySelectorAll(".rows tbody tr")];
  if (!rows.length) return;
  at = Math.min(rows.length - 1, Math.max(0, at + step));
  rows.forEach((row, n) => row.classList.toggle("at", n === at));
  /** @type {HTMLElement | null} */ (rows[at].querySelector("a.open"))?.focus();
}

/** @type {Record<string, () => void>} */
const KEYS = {
  "/": () => {
    const bar = /** @type {HTMLInputElement | null} */ (document.querySelector(".find input"));
    bar?.focus();
    bar?.setSelectionRange(bar.value.length, bar.value.length);
  },
  j: () => move(1),
  k: () => move(-1),
  x: () => {
    const box = /** @type {HTMLInputElement | null} */ (document.activeElement?.closest("tr")?.querySelector("[name=id]"));
    box?.click();
  },
  r: toggle,
  "?": () => /** @type {HTMLDialogElement | null} */ (document.getElementById("help"))?.showModal(),
  g: () => (going = Date.now()),
};
document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && target.matches("input")) target.blur();
  if (target.matches("input:not([type=checkbox]), textarea, select")) return;
  if (Date.now() - going < 1500 && event.key in GO) {
    location.href = (body.dataset.root ?? "./") + GO[/** @type {keyof typeof GO} */ (event.key)];
  } else if (event.key in KEYS) {
    event.preventDefault();
    KEYS[event.key]();
  }
});
show();
