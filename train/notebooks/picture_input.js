// A picture from a file or from this machine's camera, in parts that every Jupyter server lets through. Nothing is
// fetched: the browser's own file dialog and camera, a canvas, messages to Python.
const LONGEST_PX = 1600; // a shot of 200 to 600 kB
const PART_BYTES = 4 << 20; // a Jupyter server drops the connection at a message of 10 MiB
const NO_CAMERA =
  "The browser gives no camera here: it does so on this machine (localhost) or over https. Upload a picture instead.";

function element(kind, parent, words = "") {
  const made = document.createElement(kind);
  made.textContent = words;
  parent.append(made);
  return made;
}

async function send(model, blob, name) {
  if (blob.size > model.get("max_bytes")) {
    model.send({ kind: "too large", name, bytes: blob.size });
    return;
  }
  const parts = Math.max(1, Math.ceil(blob.size / PART_BYTES));
  for (let number = 0; number < parts; number++) {
    const part = await blob.slice(number * PART_BYTES, (number + 1) * PART_BYTES).arrayBuffer();
    model.send({ kind: "part", name, number, parts }, undefined, [part]);
  }
}

function render({ model, el }) {
  const file = element("input", el);
  Object.assign(file, { type: "file", accept: "image/*" }); // a phone offers its camera too
  file.style.display = "none";
  const [upload, open, take, close] = ["Upload a picture", "Open the camera", "Take a picture", "Close the camera"].map(
    (words) => element("button", el, words),
  );
  const told = element("p", el);
  const video = element("video", el);
  video.autoplay = video.muted = video.playsInline = true;
  video.style.maxWidth = "min(100%, 30em)";
  video.style.margin = "0.5em 0";
  for (const button of [upload, open, take, close]) {
    button.className = "jupyter-button widget-button lm-Widget";
    Object.assign(button.style, { width: "auto", marginRight: "0.5em" });
  }
  let stream = null;

  const show = () => {
    open.style.display = stream === null ? "inline-block" : "none";
    for (const each of [take, close]) each.style.display = stream === null ? "none" : "inline-block";
    video.style.display = stream === null ? "none" : "block";
  };
  const stop = () => {
    if (stream !== null) for (const track of stream.getTracks()) track.stop();
    stream = null;
    video.srcObject = null;
    show();
  };
  const say = (words) => {
    told.textContent = words;
  };
  upload.onclick = () => file.click();
  file.onchange = async () => {
    say("");
    const [chosen] = file.files;
    if (chosen) {
      await send(model, chosen, chosen.name).catch((error) => say(`${chosen.name} cannot be read (${error.name}).`));
    }
    file.value = ""; // the same file may be given again
  };
  open.onclick = async () => {
    say("");
    if (!navigator.mediaDevices) {
      say(NO_CAMERA);
      return;
    }
    open.disabled = true;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
      video.srcObject = stream;
      await video.play();
    } catch (error) {
      stop();
      say(`The camera cannot be opened (${error.name}). Allow it in the browser, or upload a picture.`);
    }
    open.disabled = false;
    show();
  };
  take.onclick = () => {
    const [width, height] = [video.videoWidth, video.videoHeight];
    if (!width || !height) {
      say("The camera gives no picture yet. Try again in a moment.");
      return;
    }
    say("");
    const scale = Math.min(1, LONGEST_PX / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => send(model, blob, "the camera's picture"), "image/jpeg", 0.92);
  };
  close.onclick = stop;
  show();
  return stop; // the page goes away: the camera's light goes out
}

export default { render };
