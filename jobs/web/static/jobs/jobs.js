// Brings the pages of jobs to life: every element with data-region is fetched again and exchanged where it changed.
// The pages work without this file. It asks only while the tab is visible, and never disturbs what a person is doing.
"use strict";

(() => {
  const EVERY = 2000; // ms between two looks
  const SLOWEST = 30000; // ms, while the server does not answer
  const toggle = document.getElementById("live");
  const announcement = document.getElementById("announcement");
  const seen = new Map(); // region → what the server said of it last, before anything here touched it
  let pause = EVERY;
  let timer = 0;
  let isLooking = false;
  let problem = "";

  const regions = (root) => [...root.querySelectorAll("[data-region]")];
  const isFinal = () => document.querySelector("[data-final]") !== null;
  const isOn = () => toggle !== null && toggle.getAttribute("aria-pressed") === "true";

  // --- looking again ------------------------------------------------------------------------------------------------

  async function look() {
    const response = await fetch(location.href, { headers: { "X-Jobs-Refresh": "1" }, credentials: "same-origin" });
    if (response.redirected) throw new Error("Signed out");
    if (!response.ok) throw new Error(response.status === 404 ? "Gone" : "No answer, trying again");
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    regions(fresh).forEach(exchange);
  }

  function exchange(fresh) {
    const old = document.querySelector(`[data-region="${fresh.dataset.region}"]`);
    const said = saidOf(fresh);
    if (!old || seen.get(fresh.dataset.region) === said || isInUse(old)) return;
    seen.set(fresh.dataset.region, said);
    const kept = remember(old);
    if (old.dataset.state && old.dataset.state !== fresh.dataset.state) announcement.textContent = `The job is now ${fresh.dataset.state}`;
    old.replaceWith(fresh);
    recall(fresh, kept);
    offerCopies(fresh);
  }

  // A form has a fresh CSRF token each time: where there is one, the server gives the region a version.
  function saidOf(region) {
    return region.dataset.version ?? region.outerHTML;
  }

  // A person who marks text, types, or has opened a form keeps what is there.
  function isInUse(region) {
    const marked = getSelection();
    if (marked && !marked.isCollapsed && region.contains(marked.anchorNode)) return true;
    const focused = document.activeElement;
    return region.contains(focused) && focused.matches("input, textarea, select, .copy");
  }

  // What is open stays open, what is scrolled stays there, a log read at its end stays at its end.
  function remember(region) {
    const boxes = [...region.querySelectorAll(".code[id]")];
    return {
      open: [...region.querySelectorAll("details[open][id]")].map((one) => one.id),
      scrolled: boxes.map((box) => [box.id, box.scrollTop, box.scrollHeight - box.scrollTop - box.clientHeight < 8]),
      focus: region.contains(document.activeElement) ? pathOf(document.activeElement) : "",
    };
  }

  function recall(region, kept) {
    for (const id of kept.open) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, top, atEnd] of kept.scrolled) {
      const box = document.getElementById(id);
      if (box) box.scrollTop = atEnd && "follow" in box.dataset ? box.scrollHeight : top;
    }
    if (kept.focus) region.querySelector(kept.focus)?.focus({ preventScroll: true });
  }

  function pathOf(element) {
    if (element.id) return `#${CSS.escape(element.id)}`;
    const href = element.getAttribute("href");
    return href ? `a[href="${CSS.escape(href)}"]` : "";
  }

  // --- when to look -------------------------------------------------------------------------------------------------

  function schedule() {
    clearTimeout(timer);
    if (isOn() && !document.hidden && !isFinal()) timer = setTimeout(tick, pause);
    show();
  }

  async function tick() {
    if (isLooking) return;
    isLooking = true;
    try {
      await look();
      pause = EVERY;
      problem = "";
    } catch (error) {
      problem = error instanceof TypeError ? "No answer, trying again" : error.message; // TypeError: the network
      pause = Math.min(pause * 2, SLOWEST);
    }
    isLooking = false;
    schedule();
  }

  function show() {
    if (!toggle) return;
    toggle.hidden = isFinal();
    toggle.classList.toggle("lost", isOn() && problem !== "");
    const words = isOn() ? problem || "Live" : "Paused";
    const label = toggle.querySelector(".label");
    if (label.textContent !== words) label.textContent = words;
    toggle.title = isOn() ? `Looks again every ${pause / 1000} s. Click to pause.` : "Click to go on.";
  }

  function remembered() {
    try {
      return localStorage.getItem("jobs-live") !== "off";
    } catch {
      return true; // a browser that stores nothing
    }
  }

  function press(on) {
    toggle.setAttribute("aria-pressed", String(on));
    try {
      localStorage.setItem("jobs-live", on ? "on" : "off");
    } catch {
      // this choice lasts as long as the page
    }
    pause = EVERY;
    schedule();
    if (on && !isFinal()) tick();
  }

  // --- copying ------------------------------------------------------------------------------------------------------

  function offerCopies(root) {
    if (!navigator.clipboard) return;
    for (const button of root.querySelectorAll(".copy[data-copy]")) button.hidden = false;
  }

  async function copy(button) {
    const text = document.getElementById(button.dataset.copy)?.textContent ?? "";
    await navigator.clipboard.writeText(text.trim());
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }

  // --- the person ---------------------------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (button) copy(button);
    for (const open of document.querySelectorAll("details.action[open]")) {
      if (!open.contains(event.target)) open.removeAttribute("open");
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelector("details.action[open]")?.removeAttribute("open");
    const isTyping = event.target.matches("input, textarea, select");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && document.getElementById("q")) {
      event.preventDefault();
      document.getElementById("q").focus();
    }
  });

  for (const region of regions(document)) seen.set(region.dataset.region, saidOf(region));
  offerCopies(document);
  for (const log of document.querySelectorAll("[data-follow]")) log.scrollTop = log.scrollHeight;
  if (toggle) {
    toggle.setAttribute("aria-pressed", String(remembered()));
    toggle.addEventListener("click", () => press(!isOn()));
    document.addEventListener("visibilitychange", () => (isOn() && !document.hidden && !isFinal() ? tick() : schedule()));
    schedule();
  }
})();
