// The page: connects its parts.

import { download, drawExample, loadPreview, progress, save, segment, upload } from "./server.js";
import { Legend, percent, swatch } from "./legend.js";
import { Painting } from "./painting.js";
import { Recent } from "./recent.js";
import { Stage } from "./stage.js";

const at = id => document.getElementById(id);
const stage = new Stage(at("canvas"), describe);
const legend = new Legend(at("legend"), at("every"), at("area-head"), repaint);
const recent = new Recent(at("recent"), at("history"), words => {
  at("words").value = words;
  run();
});
const QUICK = 1_500_000; // pixels of a scene
let picture = null; // what the server said about the picture
let painting = null;
let result = null; // what was asked for the painting
let examples = 0;
let working = false;

function asked() {
  return { image: picture.image, words: at("words").value, background: at("background").value,
    gsd: at("gsd").value.trim() };
}

function showError(place, text) {
  at(place).textContent = text;
  at(place).hidden = !text;
  at("words").setAttribute("aria-invalid", String(place === "wrong" && /^classes/.test(text)));
}

// Run one piece of work with a clock and a bar; an error is shown at a place. The bar follows a scene, if one is named.
async function work(text, place, task, scene = null) {
  if (working) return;
  working = true;
  ["problem", "failed", "wrong"].forEach(name => showError(name, ""));
  const started = performance.now();
  let done = false;
  const tick = async () => {
    at("clock").textContent = `${Math.round((performance.now() - started) / 1000)} s`;
    const filled = scene === null ? null : await progress(scene);
    if (filled === null || done) return;
    at("bar").value = filled;
    at("doing").textContent = `${text} ${Math.floor(100 * filled)} %`;
  };
  const clock = setInterval(tick, 500);
  at("status").textContent = at("doing").textContent = text;
  enable();
  try {
    at("status").textContent = await task();
  } catch (error) {
    at("status").textContent = "";
    showError(place, error.message);
    if (error.message.includes("under More")) at("more").open = true;
  }
  clearInterval(clock);
  done = true;
  at("bar").removeAttribute("value");
  at("clock").textContent = "";
  working = false;
  enable();
}

function enable() {
  at("busy").hidden = !working;
  at("panel").setAttribute("aria-busy", String(working));
  document.querySelectorAll("[data-open], [data-example], #save-files, #save-labels, #save-picture, #history button")
    .forEach(button => { button.disabled = working; });
  at("segment").disabled = working || picture === null;
}

async function take(text, request) {
  if (working) return showError("problem", "Still working on the last request; try again when it is done");
  await work(text, "problem", async () => {
    const answer = await request();
    const preview = await loadPreview(answer.image);
    picture = answer;
    painting = result = null;
    at("result").hidden = true;
    at("empty").hidden = true;
    at("zoom").hidden = false;
    at("unsure").value = 0;
    at("gsd").value = "";
    at("scene-only").hidden = !answer.scene;
    at("about").textContent = `${answer.title}: ${size(answer)}`;
    stage.setPicture(preview);
    at("canvas").setAttribute("aria-label", `Picture ${answer.title}, not segmented`);
    return slow() ? "This many pixels may take minutes" : "";
  });
  if (picture !== null && painting === null && at("problem").hidden && !slow()) await run();
}

// A photograph takes a moment; a large scene may take minutes, so it waits for the button.
function slow() {
  return picture.scene && picture.width * picture.height > QUICK;
}

function size({ width, height, note }) {
  const pixels = width * height;
  const million = pixels >= 1e6 ? ` (${(pixels / 1e6).toFixed(1)} million)` : "";
  return `${width} × ${height} pixels${million}${note ? `, ${note}` : ""}`;
}

function open(file) {
  if (file) take(`Reading ${file.name || "the picture"} …`, () => upload(file));
}

function example() {
  take("Drawing an example …", async () => {
    const answer = await drawExample(examples);
    examples += 1;
    return answer;
  });
}

function run() {
  if (picture === null) return null;
  return work("Segmenting …", "wrong", async () => {
    const now = asked();
    const view = await segment(now);
    result = now;
    painting = new Painting(view);
    recent.add(now.words);
    at("result").hidden = false;
    at("contents").textContent = picture.scene
      ? "The zip has the label map (GeoTIFF) and its style for QGIS, polygons (GeoPackage), overlay, shares and areas (JSON, CSV)."
      : "The zip has the label map (PNG), the overlay, and the shares (JSON, CSV).";
    applyThreshold();
    legend.show(painting);
    at("canvas").setAttribute("aria-label", `Picture ${picture.title}: ${summary(view)}`);
    return [`Done in ${view.seconds} s`, ...view.notes].join("; ");
  }, picture.scene ? picture.image : null);
}

function summary({ classes }) {
  const found = classes.filter(({ share }) => share > 0).sort((a, b) => b.share - a.share);
  return found.map(({ name, share }) => `${name} ${percent(share)}`).join(", ");
}

function repaint() {
  legend.count(painting.paint());
  stage.setLayer(painting.canvas);
}

function applyThreshold() {
  painting.leaveOut(at("unsure").value / 100);
  const { leftOut, threshold } = painting;
  at("unsure-shown").textContent = leftOut ? `${percent(leftOut)}: scores below ${threshold.toFixed(3)}` : "none";
}

function describe(place) {
  at("readout").hidden = place === null || painting === null;
  if (at("readout").hidden) return;
  const found = painting.at(place);
  if (found === null) return at("readout").replaceChildren("no data");
  const { classes } = painting.view;
  const { name, color } = classes[found.label];
  const ahead = classes.length > 1 ? `${percent(found.lead)} ahead of ${classes[found.next].name}` : "the only class";
  at("readout").replaceChildren(swatch(color), found.leftOut ? `left out: ${name}, ${ahead}` : `${name}, ${ahead}`);
}

function saveFrom(address, name) {
  const body = { ...result, threshold: painting.threshold };
  work(`Writing ${name} …`, "failed", async () => {
    save(await download(address, body), name);
    return `${name} is among your downloads`;
  });
}

function stem() {
  return picture.title.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_") || "picture";
}

at("file").onchange = () => {
  open(at("file").files[0]);
  at("file").value = ""; // so that the same file can be chosen again
};
document.querySelectorAll("[data-open]").forEach(button => { button.onclick = () => at("file").click(); });
document.querySelectorAll("[data-example]").forEach(button => { button.onclick = example; });
at("panel").onsubmit = event => {
  event.preventDefault();
  run();
};
document.addEventListener("keydown", event => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  run();
});
document.addEventListener("paste", event => {
  const file = event.clipboardData.files[0];
  if (!file) return; // text goes into the field
  event.preventDefault();
  open(file);
});
document.addEventListener("dragover", event => {
  event.preventDefault();
  at("stage").classList.add("over");
});
document.addEventListener("dragleave", event => {
  if (event.relatedTarget === null) at("stage").classList.remove("over");
});
document.addEventListener("drop", event => {
  event.preventDefault();
  at("stage").classList.remove("over");
  open(event.dataTransfer.files[0]);
});
at("opacity").oninput = () => {
  stage.setOpacity(at("opacity").value / 100);
  at("opacity-shown").textContent = `${at("opacity").value} %`;
};
at("unsure").oninput = () => {
  applyThreshold();
  repaint();
};
at("closer").onclick = () => stage.zoom(1.5);
at("farther").onclick = () => stage.zoom(1 / 1.5);
at("fit").onclick = () => stage.fit();
at("save-labels").onclick = () => saveFrom("labels", `${stem()}_labels.${picture.scene ? "tif" : "png"}`);
at("save-files").onclick = () => saveFrom("files", `${stem()}_segmentation.zip`);
at("save-picture").onclick = () => stage.whole().toBlob(blob => save(blob, `${stem()}_classes.png`));
enable();
