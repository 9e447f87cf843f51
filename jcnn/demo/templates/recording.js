const pen = pad.getContext("2d"), record = document.getElementById("record"), chosen = document.getElementById("file"), rate = {{ rate }}, seconds = {{ seconds }};
let recorder = null;
// Decoding in a context of the network's own rate resamples.
async function hear(blob) {
  try {
    const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await blob.arrayBuffer());
    const samples = new Float32Array(Math.min(sound.length, seconds * rate));
    for (let channel = 0; channel < sound.numberOfChannels; channel++) {
      const one = sound.getChannelData(channel);
      for (let i = 0; i < samples.length; i++) samples[i] += one[i] / sound.numberOfChannels;
    }
    draw(samples);
    await ask(samples);
  } catch { said.textContent = "That is no recording that this browser can read."; }
  said.setAttribute("aria-busy", "false");
}
function draw(samples) {
  const {width, height} = pad, step = samples.length / width;
  pen.fillStyle = "#000"; pen.fillRect(0, 0, width, height);
  pen.fillStyle = "#fff";
  for (let x = 0; x < width; x++) {
    let low = 0, high = 0;
    for (let i = Math.floor(x * step); i < (x + 1) * step && i < samples.length; i++) { low = Math.min(low, samples[i]); high = Math.max(high, samples[i]); }
    pen.fillRect(x, height / 2 * (1 - high), 1, Math.max(1, height / 2 * (high - low)));
  }
}
record.addEventListener("click", async () => {
  if (recorder) { recorder.stop(); return; }
  let stream;
  try { stream = await navigator.mediaDevices.getUserMedia({audio: true}); } catch { said.textContent = "There is no microphone, or it may not be used."; return; }
  chosen.value = ""; // the same file can then be chosen again
  const parts = [];
  const mine = recorder = new MediaRecorder(stream);
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recorder.addEventListener("stop", () => { for (const track of stream.getTracks()) track.stop(); const blob = new Blob(parts, {type: mine.mimeType}); recorder = null; record.textContent = "Record"; hear(blob); });
  recorder.start();
  record.textContent = "Stop";
  said.textContent = "Listening";
  setTimeout(() => recorder === mine && mine.stop(), 1000 * (seconds - 0.5));
});
chosen.addEventListener("change", () => { if (chosen.files.length) hear(chosen.files[0]); });
draw(new Float32Array(1));
