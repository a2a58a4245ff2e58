// Light, dark, or as the system has it: set before anything is painted, so that nothing flashes. It is the one
// script that is no module, for modules wait until the document is read.
//
// What was chosen is kept by the browser for this origin; a browser that keeps nothing (private windows, a
// policy) follows the system.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("stargate.theme");
  } catch {
    // Nothing is kept here; the system's own theme will do.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
