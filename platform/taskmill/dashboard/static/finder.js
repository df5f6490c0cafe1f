// @ts-check
// 打字找东西：筛选框的补全、跳转面板、自己的视图。没有它，筛选框照样能用。

const SHOWN_MAX = 12;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const VIEWS_MAX = 20;
const root = document.body.dataset.root ?? "./";
const words = /** @type {DOMStringMap} */ (document.getElementById("jump")?.dataset ?? {});

/** @typedef {{label: string, note?: string, take: () => void}} Item */

/** @type {Promise<Record<string, string[]>> | undefined} */
let asked;

/** 第一次打字时才问；没问到的，下次再问 */
function known() {
  asked ??= fetch(`${root}names`)
    .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(answer.statusText))))
    .catch(() => ((asked = undefined), {}));
  return asked;
}

/** @param {string[]} names @param {string} text */
function like(names, text) {
  const wanted = text.toLowerCase();
  const found = names.filter((name) => name.toLowerCase().includes(wanted));
  return found.sort((a, b) => Number(b.toLowerCase().startsWith(wanted)) - Number(a.toLowerCase().startsWith(wanted)));
}

/* ── 输入框与它下面的列表：ARIA combobox ──────────────── */

/**
 * @param {HTMLInputElement} input
 * @param {HTMLElement} list
 * @param {(text: string, caret: number) => Promise<Item[]>} find
 * @param {boolean} eager 第一项已经选中，回车就去
 */
function combobox(input, list, find, eager) {
  /** @type {Item[]} */
  let items = [];
  let at = -1;
  let asking = 0;
  let stale = false; // 列表还是上一次打的字的
  let pending = Promise.resolve();
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", list.id);
  close();

  function close() {
    asking += 1;
    stale = false;
    items = [];
    list.hidden = true;
    list.replaceChildren();
    mark(-1);
  }

  /** @param {number} to */
  function mark(to) {
    at = to;
    [...list.children].forEach((each, n) => each.setAttribute("aria-selected", String(n === at)));
    const chosen = list.children[at];
    if (chosen) input.setAttribute("aria-activedescendant", chosen.id);
    else input.removeAttribute("aria-activedescendant");
    chosen?.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-expanded", String(items.length > 0));
  }

  function open() {
    stale = true;
    pending = look();
  }

  async function look() {
    const mine = (asking += 1);
    const found = await find(input.value, input.selectionStart ?? input.value.length);
    if (mine !== asking) return; // 等的时候又打了字，或者已经走开
    stale = false;
    items = found.slice(0, SHOWN_MAX);
    list.replaceChildren(...items.map(option));
    list.hidden = !items.length;
    mark(eager && items.length ? 0 : -1);
  }

  /** @param {Item} item @param {number} n */
  function option(item, n) {
    const made = document.createElement("li");
    made.id = `${list.id}-${n}`;
    made.setAttribute("role", "option");
    made.append(item.label);
    if (item.note) {
      const note = document.createElement("span");
      note.textContent = item.note;
      made.append(" ", note);
    }
    made.addEventListener("mousedown", (event) => event.preventDefault()); // 焦点留在输入框
    made.addEventListener("click", () => item.take());
    return made;
  }

  input.addEventListener("input", open);
  input.addEventListener("focus", open);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // 输入法还没有定字
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && items.length) {
      event.preventDefault();
      mark(at < 0 && step < 0 ? items.length - 1 : (at + step + items.length) % items.length);
    } else if (event.key === "Enter" && stale && eager) {
      event.preventDefault();
      pending.then(() => items[at]?.take()); // 打得比问得快：等这几个字的列表，不去上一个列表的第一项
    } else if (event.key === "Enter" && at >= 0 && !stale) {
      event.preventDefault();
      items[at].take();
    } else if (event.key === "Escape" && items.length && !eager) {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
  return { close, open };
}

/* ── 筛选框 ───────────────────────────────────────────── */

const bar = /** @type {HTMLInputElement | null} */ (document.querySelector(".find input"));
const barList = document.getElementById("find-list");
if (bar && barList) {
  const { open } = combobox(bar, barList, complete, false);

  /** @param {string} text @param {number} caret @returns {Promise<Item[]>} */
  async function complete(text, caret) {
    const all = await known();
    const word = /\S*$/.exec(text.slice(0, caret))?.[0] ?? "";
    const start = caret - word.length;
    const [key, value] = word.includes(":") ? [word.slice(0, word.indexOf(":")), word.slice(word.indexOf(":") + 1)] : [word, null];
    if (value === null) {
      const keys = Object.keys(all).filter((each) => each.startsWith(key));
      return keys.map((each) => ({ label: `${each}:`, take: () => put(start, caret, `${each}:`) }));
    }
    const before = key === "state" ? value.slice(0, value.lastIndexOf(",") + 1) : ""; // 状态可以有几个
    const rest = value.slice(before.length);
    const taken = before.split(",");
    const found = like(all[key] ?? [], rest).filter((each) => each !== rest && !taken.includes(each));
    return found.map((each) => ({ label: each, take: () => put(start, caret, `${key}:${before}${each} `) }));
  }

  /** @param {number} start @param {number} end @param {string} made */
  function put(start, end, made) {
    if (!bar) return;
    bar.setRangeText(made, start, end, "end");
    open();
  }
}

/* ── 跳转 ─────────────────────────────────────────────── */

const jump = /** @type {HTMLDialogElement | null} */ (document.getElementById("jump"));
const jumpInput = /** @type {HTMLInputElement | null} */ (document.getElementById("jump-text"));
const jumpList = document.getElementById("jump-list");
if (jump && jumpInput && jumpList) {
  const { close, open } = combobox(jumpInput, jumpList, places, true);

  /** @param {string} label @param {string} note @param {string} path @returns {Item} */
  function place(label, note, path) {
    return { label, note, take: () => (location.href = root + path) };
  }

  /** @param {string} given @returns {Promise<Item[]>} */
  async function places(given) {
    const text = given.trim();
    if (UUID.test(text)) return [place(text, words.task ?? "", `tasks/${text}`)];
    const rail = /** @type {HTMLAnchorElement[]} */ ([...document.querySelectorAll(".rail a:not(.brand)")]);
    const pages = rail.map((link) => ({ name: link.textContent?.trim() ?? "", path: (link.getAttribute("href") ?? "").slice(root.length) }));
    if (words.submit) pages.push({ name: words.submit, path: "tasks/new" });
    const found = pages
      .filter((page) => [page.name, page.path].some((each) => each.toLowerCase().includes(text.toLowerCase())))
      .map((page) => place(page.name, words.page ?? "", page.path));
    if (!text) return found;
    const all = await known();
    const query = (/** @type {string} */ q) => `tasks?q=${encodeURIComponent(q)}`;
    found.push(...like(all.queue ?? [], text).slice(0, 5).map((name) => place(name, words.queue ?? "", `queues/${encodeURIComponent(name)}`)));
    for (const name of like(all.kind ?? [], text).slice(0, 5)) {
      found.push(place(name, words.kind ?? "", query(`kind:${name}`)));
      if (words.submit) found.push(place(name, words.submit, `tasks/new?kind=${encodeURIComponent(name)}`));
    }
    return [...found.slice(0, SHOWN_MAX - 1), place(text, words.filter ?? "", query(text))];
  }

  const start = () => {
    if (document.querySelector("dialog[open]")) return;
    jumpInput.value = "";
    jump.showModal();
    open();
  };
  jump.addEventListener("close", close);
  jump.addEventListener("click", (event) => event.target === jump && jump.close()); // 点在外面
  document.getElementById("jump-open")?.addEventListener("click", start);
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
    event.preventDefault(); // 浏览器自己的搜索
    start();
  });
}

/* ── 自己的视图：只在这个浏览器里 ─────────────────────── */

/** @typedef {{name: string, q: string}} View */

const own = document.getElementById("own");
if (own) {
  const key = `taskmill-views:${new URL(root, location.href).pathname}`; // 同一个来源的不同路径下可以有几个 Taskmill

  /** @returns {View[]} */
  const read = () => {
    try {
      const found = JSON.parse(localStorage.getItem(key) ?? "[]");
      return found.filter((/** @type {any} */ each) => typeof each?.name === "string" && typeof each?.q === "string");
    } catch {
      return []; // 存储被禁用，或者被别人写坏了
    }
  };

  /** @param {View[]} views */
  function write(views) {
    localStorage.setItem(key, JSON.stringify(views.slice(-VIEWS_MAX)));
    draw();
  }

  /** @param {View} view */
  function drawn(view) {
    const [made, link, remove] = [document.createElement("span"), document.createElement("a"), document.createElement("button")];
    made.className = "tag";
    link.href = `${root}tasks?q=${encodeURIComponent(view.q)}`;
    link.textContent = view.name;
    if (view.q === own?.dataset.q) link.setAttribute("aria-current", "true");
    remove.type = "button";
    remove.className = "ghost";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `${own?.dataset.remove} ${view.name}`);
    remove.addEventListener("click", () => write(read().filter((each) => each.name !== view.name)));
    made.append(link, remove);
    return made;
  }

  function saver() {
    const [form, input, button] = [document.createElement("form"), document.createElement("input"), document.createElement("button")];
    input.required = true;
    input.maxLength = 60;
    input.placeholder = own?.dataset.name ?? "";
    input.setAttribute("aria-label", own?.dataset.name ?? "");
    button.textContent = own?.dataset.save ?? "";
    form.append(input, button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = input.value.trim();
      if (name) write([...read().filter((each) => each.name !== name), { name, q: own?.dataset.q ?? "" }]);
      /** @type {HTMLElement | null | undefined} */ (own?.querySelector("input"))?.focus();
    });
    return form;
  }

  function draw() {
    own?.replaceChildren(...read().map(drawn), ...(own.dataset.q ? [saver()] : []));
  }
  window.addEventListener("storage", (event) => event.key === key && draw()); // 别的标签页存的
  draw();
}
