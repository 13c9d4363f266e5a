// What is live on every page: times, keys, colours, and the state of the
// connection. Pages work without it.
(function () {
  "use strict";
  var doc = document;
  var $ = function (id) { return doc.getElementById(id); };

  // Times. The gateway renders UTC; here they are the reader's.
  function ago(seconds) {
    var s = Math.abs(seconds), text;
    if (s < 1) return "now";
    if (s < 60) text = Math.floor(s) + " s";
    else if (s < 3600) text = Math.floor(s / 60) + " min";
    else if (s < 172800) text = Math.floor(s / 3600) + " h";
    else text = Math.floor(s / 86400) + " days";
    return seconds < 0 ? "in " + text : text + " ago";
  }
  function left(seconds) {
    if (seconds <= 0) return "expired";
    var m = Math.floor(seconds / 60), s = Math.floor(seconds % 60);
    if (m >= 60) return "expires in " + Math.floor(m / 60) + " h " + (m % 60) + " min";
    return "expires in " + m + ":" + (s < 10 ? "0" : "") + s;
  }
  function set(el, text) { if (el.textContent !== text) el.textContent = text; }
  function times() {
    var now = Date.now();
    doc.querySelectorAll("time[data-ago]").forEach(function (el) {
      var at = new Date(el.dateTime);
      if (at.getFullYear() < 1971) return;
      set(el, ago((now - at) / 1000));
      el.title = at.toLocaleString();
    });
    doc.querySelectorAll("time[data-local]").forEach(function (el) { set(el, new Date(el.dateTime).toLocaleTimeString()); });
    doc.querySelectorAll("time[data-clock]").forEach(function (el) { set(el, new Date(el.dateTime).toLocaleTimeString()); });
    doc.querySelectorAll("[data-until]").forEach(function (el) {
      var rest = (new Date(el.dataset.until) - now) / 1000;
      set(el, left(rest));
      el.classList.toggle("soon", rest < 60);
    });
  }
  times();
  setInterval(times, 1000);

  // Colours: automatic, light, dark.
  var theme = $("theme");
  function labelTheme() {
    var t = doc.documentElement.dataset.theme || "automatic";
    if (theme) theme.setAttribute("aria-label", "Colours: " + t);
  }
  if (theme) {
    labelTheme();
    theme.addEventListener("click", function () {
      var dark = matchMedia("(prefers-color-scheme: dark)").matches;
      var order = dark ? ["", "light", "dark"] : ["", "dark", "light"];
      var t = order[(order.indexOf(doc.documentElement.dataset.theme || "") + 1) % 3];
      if (t) doc.documentElement.dataset.theme = t; else delete doc.documentElement.dataset.theme;
      try { if (t) localStorage.setItem("regate-theme", t); else localStorage.removeItem("regate-theme"); } catch (e) { /* it lasts for this page */ }
      labelTheme();
    });
  }

  // The connection.
  var dot = $("live-dot");
  function live(state, text) {
    if (!dot) return;
    dot.dataset.state = state;
    set(dot.firstElementChild, text);
    doc.documentElement.dataset.live = state;
  }
  doc.addEventListener("htmx:sseOpen", function (e) {
    live("on", "live");
    e.detail.source.addEventListener("signed-out", function () { location.reload(); });
  });
  doc.addEventListener("htmx:sseError", function () { live("off", "reconnecting"); });
  doc.addEventListener("htmx:sendError", function () { live("off", "reconnecting"); });

  // What is new since the last look is marked; what somebody types, opens or
  // reads is left alone.
  var known = new Map();
  function remember(root) {
    if (!root || !root.id) return;
    var ids = new Set();
    root.querySelectorAll("[data-id]").forEach(function (el) { ids.add(el.dataset.id); });
    var before = known.get(root.id);
    known.set(root.id, ids);
    if (!before) return;
    root.querySelectorAll("[data-id]").forEach(function (el) { if (!before.has(el.dataset.id)) el.classList.add("fresh"); });
  }
  doc.querySelectorAll("[data-fresh]").forEach(remember);
  doc.addEventListener("htmx:afterSettle", function (e) {
    times();
    if (e.target && e.target.matches && e.target.matches("[data-fresh]")) remember(e.target);
    if (mark) { var again = rows().find(function (r) { return (r.dataset.id || r.id) === mark; }); if (again) again.classList.add("at"); }
  });
  doc.addEventListener("htmx:beforeSwap", function (e) {
    var t = e.detail.target;
    if (e.detail.xhr.status >= 400) return;
    if (!t || !t.querySelector) return;
    var active = doc.activeElement;
    var typing = active && t.contains(active) && (active.matches("input,select,textarea") && active.value);
    var filled = Array.prototype.some.call(t.querySelectorAll("form input:not([type=hidden]):not([type=search])"), function (i) { return i.value && i.value !== i.defaultValue; });
    var open = t.querySelector("details[open]");
    var selected = String(getSelection && getSelection()).length > 0 && t.contains(getSelection().anchorNode);
    if (t.id !== "pending" && t.id !== "explain" && !t.matches("[data-keep-typing]") && (typing || filled || open || selected)) e.detail.shouldSwap = false;
    if (t.matches("[data-keep-typing]") && (typing || filled)) {
      // The state of the request must show; the words stay.
      var words = {};
      t.querySelectorAll("form input[name]").forEach(function (i) { words[i.name] = i.value; });
      var focus = active && t.contains(active) ? active.name : "";
      doc.addEventListener("htmx:afterSettle", function () {
        doc.querySelectorAll("[data-keep-typing] form input[name]").forEach(function (i) {
          if (words[i.name]) i.value = words[i.name];
          if (focus && i.name === focus) i.focus();
        });
      }, { once: true });
    }
  });

  // Keys.
  var mark = "";
  function rows() { return Array.prototype.slice.call(doc.querySelectorAll("[data-row]")); }
  function move(by) {
    var list = rows();
    if (!list.length) return;
    var i = list.findIndex(function (r) { return r.classList.contains("at"); });
    if (i >= 0) list[i].classList.remove("at");
    i = i < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(list.length - 1, Math.max(0, i + by));
    var row = list[i], link = row.matches("a") ? row : row.querySelector("a");
    row.classList.add("at");
    mark = row.dataset.id || row.id;
    row.scrollIntoView({ block: "nearest" });
    if (link) link.focus({ preventScroll: true });
  }
  function help() { var d = $("help"); if (d && !d.open) d.showModal(); }
  var helpButton = $("help-button");
  if (helpButton) helpButton.addEventListener("click", help);
  var going = 0;
  doc.addEventListener("keydown", function (e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "Escape") { doc.querySelectorAll("details.menu[open]").forEach(function (d) { d.open = false; }); return; }
    if (e.target.matches("input,select,textarea,[contenteditable]") || doc.querySelector("dialog[open]")) return;
    if (Date.now() - going < 1500) {
      going = 0;
      var to = doc.querySelector('.side a[data-key="' + CSS.escape(e.key) + '"]');
      if (to) { e.preventDefault(); to.click(); }
      return;
    }
    switch (e.key) {
      case "g": going = Date.now(); break;
      case "j": move(1); break;
      case "k": move(-1); break;
      case "?": help(); break;
      case "/":
        var s = doc.querySelector("[data-search]");
        if (s) { e.preventDefault(); s.focus(); s.select(); }
        break;
    }
  });
  doc.addEventListener("click", function (e) {
    doc.querySelectorAll("details.menu[open]").forEach(function (d) { if (!d.contains(e.target)) d.open = false; });
  });
  // A form is sent once.
  doc.addEventListener("submit", function (e) {
    if (e.target.dataset.sent) { e.preventDefault(); return; }
    if (e.target.method === "post") e.target.dataset.sent = "1";
  });
  addEventListener("pageshow", function () { doc.querySelectorAll("form[data-sent]").forEach(function (f) { delete f.dataset.sent; }); });
})();
