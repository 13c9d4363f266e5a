// Plays a session back: what is on the page appears when it happened.
(function () {
  "use strict";
  var player = document.getElementById("player");
  if (!player) return;
  var $ = function (id) { return document.getElementById(id); };
  var seek = $("seek"), clock = $("clock"), play = $("play"), speed = $("speed"), idle = $("idle"), denial = $("denial");
  var length = Number(player.dataset.length), now = length, playing = false, last = 0;
  var longest = 1500; // ms that a pause lasts at most, with "skip idle"
  player.hidden = false;

  function turns() { return Array.prototype.slice.call(document.querySelectorAll("#timeline [data-at]")); }
  function at(el) { return Number(el.dataset.at); }
  function stamps() {
    var all = [];
    document.querySelectorAll("#timeline [data-at],#timeline [data-from]").forEach(function (el) { all.push(Number(el.dataset.at || el.dataset.from)); });
    return all.sort(function (a, b) { return a - b; });
  }
  function time(ms) {
    var s = Math.floor(ms / 1000), m = Math.floor(s / 60);
    return m + ":" + (s % 60 < 10 ? "0" : "") + (s % 60) + "." + Math.floor((ms % 1000) / 100);
  }
  function show() {
    var current = null;
    turns().forEach(function (t) {
      var future = at(t) > now;
      t.classList.toggle("future", future);
      if (!future && t.classList.contains("turn")) current = t;
    });
    document.querySelectorAll("#timeline [data-from]").forEach(function (el) { el.classList.toggle("future", Number(el.dataset.from) > now); });
    document.querySelectorAll("#timeline .turn.current").forEach(function (t) { if (t !== current) t.classList.remove("current"); });
    if (current && now < length) current.classList.add("current");
    seek.value = now;
    clock.value = time(now) + " / " + time(length);
    return current;
  }
  function start() {
    if (now >= length) now = -1;
    playing = true;
    player.classList.add("playing");
    play.setAttribute("aria-label", "Pause");
    last = performance.now();
    requestAnimationFrame(step);
  }
  function stop() {
    playing = false;
    player.classList.remove("playing");
    play.setAttribute("aria-label", "Play");
  }
  var shown = null;
  function step(t) {
    if (!playing) return;
    var passed = (t - last) * Number(speed.value);
    last = t;
    now += passed;
    if (idle.checked) {
      var next = stamps().find(function (s) { return s > now; });
      if (next !== undefined && next - now > longest) now = next - longest;
    }
    if (now >= length) { now = length; stop(); }
    var current = show();
    if (current && current !== shown) {
      shown = current;
      var calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      current.scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
    }
    requestAnimationFrame(step);
  }
  function go(el) {
    stop();
    // A request is shown with its answer: up to just before the next one.
    var list = turns().filter(function (t) { return t.classList.contains("turn"); });
    var after = list[list.indexOf(el) + 1];
    now = after ? Math.max(at(el), at(after) - 1) : length;
    document.querySelectorAll("#timeline .turn.current").forEach(function (t) { t.classList.remove("current"); });
    show();
    el.classList.remove("future");
    el.querySelectorAll(".future").forEach(function (f) { f.classList.remove("future"); });
    document.querySelectorAll("#timeline .turn.current").forEach(function (t) { t.classList.remove("current"); });
    el.classList.add("current");
    el.scrollIntoView({ block: "center" });
    el.focus({ preventScroll: true });
    where = el;
  }
  var where = null;
  function other(by, fits) {
    var list = turns().filter(function (t) { return t.classList.contains("turn"); });
    var i = where && where.isConnected ? list.indexOf(where) : -1;
    for (i += by; i >= 0 && i < list.length; i += by) if (fits(list[i])) { go(list[i]); return true; }
    return false;
  }
  function any() { return true; }
  function denied(t) { return t.dataset.effect === "deny"; }
  function nextDenial() { if (!other(1, denied)) { where = null; other(1, denied); } }
  play.addEventListener("click", function () { if (playing) stop(); else start(); });
  $("prev").addEventListener("click", function () { other(-1, any); });
  $("next").addEventListener("click", function () { other(1, any); });
  denial.addEventListener("click", nextDenial);
  seek.addEventListener("input", function () { stop(); now = Number(seek.value); show(); });
  document.addEventListener("keydown", function (e) {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input,select,textarea,button,summary") || document.querySelector("dialog[open]")) return;
    switch (e.key) {
      case " ": e.preventDefault(); if (playing) stop(); else start(); break;
      case "ArrowLeft": e.preventDefault(); other(-1, any); break;
      case "ArrowRight": e.preventDefault(); other(1, any); break;
      case "n": nextDenial(); break;
    }
  });
  document.addEventListener("htmx:afterSettle", function (e) {
    if (e.target && e.target.id === "timeline") {
      stamps().forEach(function (s) { if (s > length) length = s; });
      seek.max = length;
      if (!playing) now = length;
      denial.disabled = !document.querySelector("#timeline [data-effect=deny]");
      show();
      terminals();
    }
  });

  // Terminals are played by asciinema-player.
  function terminals() {
    if (!window.AsciinemaPlayer) return;
    document.querySelectorAll(".terminal[data-cast]:not([data-made])").forEach(function (el) {
      el.dataset.made = "1";
      el.textContent = "";
      window.AsciinemaPlayer.create(el.dataset.cast, el, { fit: "width", idleTimeLimit: 2, preload: true, controls: true, terminalFontSize: "small" });
    });
  }
  terminals();
  show();
  if (location.hash.indexOf("#turn-") === 0) { var el = document.getElementById(location.hash.slice(1)); if (el) go(el); }
})();
