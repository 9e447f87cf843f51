const pen = pad.getContext("2d", {willReadFrequently: true}), side = {{ side }};
let drawing = false, asking = false, again = false;
const clear = () => { pen.fillStyle = "#000"; pen.fillRect(0, 0, side, side); };
const at = (event) => { const box = pad.getBoundingClientRect(); return [(event.clientX - box.left) * side / box.width, (event.clientY - box.top) * side / box.height]; };
pad.addEventListener("pointerdown", (event) => { drawing = true; pad.setPointerCapture(event.pointerId); pen.beginPath(); pen.moveTo(...at(event)); stroke(event); });
pad.addEventListener("pointermove", (event) => drawing && stroke(event));
for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, () => { drawing = false; });
document.getElementById("clear").addEventListener("click", () => { clear(); said.textContent = "Draw something"; for (const id of ["rows", "ends", "layers"]) document.getElementById(id).replaceChildren(); });
const stroke = (event) => { pen.lineWidth = side / 11; pen.lineCap = pen.lineJoin = "round"; pen.strokeStyle = "#fff"; pen.lineTo(...at(event)); pen.stroke(); look(); };
async function look() {
  if (asking) { again = true; return; }
  asking = true;
  const {data} = pen.getImageData(0, 0, side, side);
  await ask(new Uint8Array(side * side).map((_, i) => data[4 * i]));
  asking = false;
  if (again) { again = false; look(); } else said.setAttribute("aria-busy", "false");
}
clear();
