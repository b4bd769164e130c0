"use strict";
// Pan and zoom by the viewBox of the drawing; a tooltip with what a shape's <title> says.
const svg = document.querySelector("svg.stepwell");
const tip = document.getElementById("tip");
const { width, height } = svg.viewBox.baseVal;
const drawing = { width, height };
let view, grip = null;
svg.removeAttribute("width");
svg.removeAttribute("height");
svg.querySelector(":scope > .ground").remove();
svg.querySelector(":scope > title").remove();
svg.setAttribute("aria-label", document.title);

const show = () => svg.setAttribute("viewBox", [view.x, view.y, view.width, view.height].join(" "));
const fit = (smallest = 0) => {  // never larger than life; what does not fit begins at its top
  const whole = Math.max(drawing.width / svg.clientWidth, drawing.height / svg.clientHeight, 1);
  const scale = smallest ? Math.min(whole, 1 / smallest) : whole;
  const width = svg.clientWidth * scale, height = svg.clientHeight * scale;
  const y = Math.min((drawing.height - height) / 2, 0);
  view = { x: (drawing.width - width) / 2, y, width, height };
  show();
};
const READABLE = 0.8;
const zoom = (factor, x = 0.5, y = 0.5) => {  // around a place given as parts of the window
  const width = Math.min(Math.max(view.width * factor, 120), 40 * drawing.width + 4000);
  const change = width / view.width;
  view.x += view.width * x * (1 - change);
  view.y += view.height * y * (1 - change);
  view.width = width;
  view.height *= change;
  show();
};

svg.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(1.0015 ** event.deltaY, event.clientX / svg.clientWidth, event.clientY / svg.clientHeight);
}, { passive: false });
svg.addEventListener("pointerdown", (event) => {
  grip = { x: event.clientX, y: event.clientY };
  svg.setPointerCapture(event.pointerId);
  svg.classList.add("moving");
});
svg.addEventListener("pointermove", (event) => {
  if (!grip) return;
  const scale = view.width / svg.clientWidth;
  view.x -= (event.clientX - grip.x) * scale;
  view.y -= (event.clientY - grip.y) * scale;
  grip = { x: event.clientX, y: event.clientY };
  show();
});
for (const end of ["pointerup", "pointercancel"]) {
  svg.addEventListener(end, () => { grip = null; svg.classList.remove("moving"); });
}
svg.addEventListener("dblclick", () => fit());
window.addEventListener("resize", () => fit(READABLE));
for (const button of document.querySelectorAll("[data-zoom]")) {
  const factor = Number(button.dataset.zoom);
  button.addEventListener("click", () => (factor ? zoom(factor) : fit()));
}

const place = (event) => {
  const x = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  const y = Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 8);
  tip.style.left = `${Math.max(x, 8)}px`;
  tip.style.top = `${Math.max(y, 8)}px`;
};
for (const shape of svg.querySelectorAll(".shape")) {
  const title = shape.querySelector("title");
  const [name, ...details] = title.textContent.split("\n\n");
  title.remove();  // or the browser would show one of its own too
  shape.setAttribute("aria-label", [name, ...details].join(". "));
  shape.addEventListener("pointerenter", (event) => {
    if (grip) return;
    const heading = document.createElement("b");
    heading.textContent = name;
    tip.replaceChildren(heading, details.join("\n\n"));
    tip.style.display = "block";
    place(event);
  });
  shape.addEventListener("pointermove", place);
  shape.addEventListener("pointerleave", () => { tip.style.display = "none"; });
}
fit(READABLE);
