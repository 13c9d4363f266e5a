// Sets the colours before anything is drawn.
(function () {
  "use strict";
  var t = null;
  try { t = localStorage.getItem("regate-theme"); } catch (e) { /* no storage: automatic */ }
  if (t === "light" || t === "dark") document.documentElement.dataset.theme = t;
})();
