const pen = pad.getContext("2d", {willReadFrequently: true}), chosen = document.getElementById("file"), side = {{ side }}, most = {{ most }};
let drawing = false, asking = false, again = false, image = null;
const clear = () => { pen.fillStyle = "#000"; pen.fillRect(0, 0, side, side); };
// The same file can then be chosen again.
const leave = () => { image = null; chosen.value = ""; };
const at = (event) => { const box = pad.getBoundingClientRect(); return [(event.clientX - box.left) * side / box.width, (event.clientY - box.top) * side / box.height]; };
pad.addEventListener("pointerdown", (event) => { if (image) { leave(); clear(); } drawing = true; pad.setPointerCapture(event.pointerId); pen.beginPath(); pen.moveTo(...at(event)); stroke(event); });
pad.addEventListener("pointermove", (event) => drawing && stroke(event));
for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, () => { drawing = false; });
document.getElementById("clear").addEventListener("click", () => { again = false; leave(); clear(); forget(); said.textContent = "Draw something, or choose an image"; });
const stroke = (event) => { pen.lineWidth = side / 11; pen.lineCap = pen.lineJoin = "round"; pen.strokeStyle = "#fff"; pen.lineTo(...at(event)); pen.stroke(); look(); };
async function look() {
  if (asking) { again = true; return; }
  asking = true;
  const {data} = pen.getImageData(0, 0, side, side);
  await ask(new Uint8Array(side * side).map((_, i) => data[4 * i]));
  asking = false;
  if (again) { again = false; look(); } else said.setAttribute("aria-busy", "false");
}
// The server reads the file itself; what is shown of it here is only as good as the browser's reading.
async function send(file) {
  image = file;
  again = false;
  clear();
  forget();
  if (file.size > most) { said.textContent = `Expected an image of at most ${most / 2 ** 20} MiB.`; return; }
  preview(file);
  const invert = document.getElementById("invert");
  await ask(file, invert && invert.checked ? "/image/inverted" : "/image");
  said.setAttribute("aria-busy", "false");
}
async function preview(file) {
  let read;
  try { read = await createImageBitmap(file); } catch { return; }
  if (file !== image) return;
  const scale = side / Math.max(read.width, read.height), [width, height] = [read.width * scale, read.height * scale];
  pen.drawImage(read, (side - width) / 2, (side - height) / 2, width, height);
}
chosen.addEventListener("change", () => { if (chosen.files.length) send(chosen.files[0]); });
document.getElementById("invert")?.addEventListener("change", () => image && send(image));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => { event.preventDefault(); if (event.dataTransfer.files.length) { leave(); send(event.dataTransfer.files[0]); } });
clear();
