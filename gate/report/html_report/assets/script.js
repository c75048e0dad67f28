"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const reveal = (element) => { element.hidden = false; };

  // Theme: the system's, unless the reader chose one. Storage may be denied to local files.
  const theme = document.getElementById("theme");
  const names = ["auto", "light", "dark"];
  const stored = { get: () => { try { return localStorage.getItem("quantgate-theme"); } catch { return null; } },
    set: (name) => { try { localStorage.setItem("quantgate-theme", name); } catch { /* not kept */ } } };
  const paint = (name) => {
    if (name === "auto") { delete root.dataset.theme; } else { root.dataset.theme = name; }
    theme.querySelector("span").textContent = name;
    theme.dataset.name = name;
  };
  paint(names.includes(stored.get()) ? stored.get() : "auto");
  theme.addEventListener("click", () => {
    const next = names[(names.indexOf(theme.dataset.name) + 1) % names.length];
    stored.set(next);
    paint(next);
  });
  reveal(theme);

  // Filter and search: rows and details alike.
  const filter = document.getElementById("filter");
  const search = document.getElementById("search");
  const rows = all("#cases-table tbody tr");
  const cases = all("details.case");
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(all("input[name=outcome]:checked", filter).map((box) => box.value));
    let shown = 0;
    for (const item of [...rows, ...cases]) {
      const keep = wanted.has(item.dataset.outcome) && words.every((word) => item.dataset.find.includes(word));
      item.hidden = !keep;
      shown += keep && item.matches("tr") ? 1 : 0;
    }
    document.getElementById("shown").textContent = shown + " of " + rows.length + " shown";
  };
  filter.addEventListener("input", apply);
  filter.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.matches("input")) {
      event.preventDefault();
      search.focus();
    }
  });
  reveal(filter);
  apply();

  // Sorting: a button in each header; a third press brings the first order back.
  const body = document.querySelector("#cases-table tbody");
  all("#cases-table th[data-sort]").forEach((head) => {
    const place = [...head.parentNode.children].indexOf(head);
    const numeric = head.dataset.sort === "number";
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const next = before === "ascending" ? "descending" : before === "descending" ? null : "ascending";
      all("#cases-table th").forEach((other) => other.removeAttribute("aria-sort"));
      if (next === null) { body.append(...rows); return; }
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const key = (row) => (numeric ? row.children[place].dataset.value : row.children[place].textContent.trim());
      body.append(...[...rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (!numeric) { return sign * x.localeCompare(y); }
        if (x === "" || y === "") { return (x === "" ? 1 : 0) - (y === "" ? 1 : 0); }
        return sign * (Number(x) - Number(y));
      }));
    });
  });

  // Details: a link opens what it leads to, and paper shows everything.
  const follow = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const holder = target && target.closest("details.case");
    if (holder) { holder.hidden = false; holder.open = true; target.focus({ preventScroll: true }); holder.scrollIntoView(); }
  };
  window.addEventListener("hashchange", follow);
  follow();
  for (const [id, state] of [["open-all", true], ["close-all", false]]) {
    const button = document.getElementById(id);
    button.addEventListener("click", () => cases.forEach((item) => { if (!item.hidden) { item.open = state; } }));
    if (cases.length) { reveal(button); }
  }
  let closed = [];
  window.addEventListener("beforeprint", () => { closed = cases.filter((item) => !item.open); closed.forEach((item) => { item.open = true; }); });
  window.addEventListener("afterprint", () => closed.forEach((item) => { item.open = false; }));

  // Layer profile: pointer and arrow keys choose a layer; the card shows what is known of it.
  all(".explore").forEach((chart) => {
    const holder = chart.parentNode;
    const card = holder.querySelector(".card");
    const cursor = chart.querySelector(".p-cursor");
    const drawing = chart.querySelector("svg");
    const band = Number(chart.dataset.band);
    const left = Number(chart.dataset.left);
    const count = Number(chart.getAttribute("aria-valuemax"));
    let layers = null;
    const choose = (index) => {
      layers ??= JSON.parse(holder.querySelector(".layer-data").textContent);
      const layer = layers[Math.min(Math.max(index, 0), layers.length - 1)];
      const at = layers.indexOf(layer);
      const x = left + (at + 0.5) * band;
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.classList.add("on");
      chart.setAttribute("aria-valuenow", at + 1);
      chart.setAttribute("aria-valuetext", "layer " + (at + 1) + " of " + count + ": " +
        Object.entries(layer).map(([key, value]) => (key === "name" ? value : key + " " + value)).join(", "));
      const title = document.createElement("strong");
      title.textContent = (at + 1) + ". " + layer.name;
      const list = document.createElement("dl");
      for (const [key, value] of Object.entries(layer)) {
        if (key === "name") { continue; }
        const pair = document.createElement("div");
        const term = document.createElement("dt");
        const text = document.createElement("dd");
        term.textContent = key;
        text.textContent = value;
        pair.append(term, text);
        list.append(pair);
      }
      card.replaceChildren(title, list);
    };
    const now = () => Number(chart.getAttribute("aria-valuenow")) - 1;
    chart.addEventListener("pointermove", (event) => {
      const box = drawing.getBoundingClientRect();
      const x = (event.clientX - box.left) * (drawing.viewBox.baseVal.width / box.width);
      choose(Math.floor((x - left) / band));
    });
    chart.addEventListener("focus", () => choose(now()));
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (step !== undefined) { choose(now() + step); }
      else if (event.key === "Home") { choose(0); }
      else if (event.key === "End") { choose(count - 1); }
      else { return; }
      event.preventDefault();
    });
  });

  // Commands: copy, or select where the clipboard is out of reach.
  all(".copy").forEach((button) => {
    const code = button.previousElementSibling;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    reveal(button);
  });
})();
