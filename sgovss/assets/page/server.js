// Requests to the server, and the form of its answers.

async function send(address, body) {
  let response;
  const json = body instanceof FormData ? {} : { "Content-Type": "application/json" };
  try {
    response = await fetch(address, { method: "POST", headers: json, body: json["Content-Type"] ? JSON.stringify(body) : body });
  } catch {
    throw new Error("the server does not answer; is “sgovss app” still running?");
  }
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error || response.statusText);
  return response;
}

export async function upload(file) {
  const form = new FormData();
  form.append("file", file, file.name || "pasted picture");
  return (await send("image", form)).json();
}

export async function drawExample(number) {
  return (await send("example", { number })).json();
}

export async function loadPreview(name) {
  const picture = new Image();
  picture.src = `preview/${name}`;
  await picture.decode();
  return picture;
}

// How much of a scene is segmented, 0 to 1; null if this is not known.
export async function progress(name) {
  return fetch(`progress/${name}`).then(response => response.json()).then(({ filled }) => filled).catch(() => null);
}

// A view: {height, width, seconds, step, notes, classes: [{name, color, share, area}], labels, runnersUp, scores, leads}.
export async function segment(asked) {
  const content = await (await send("segment", asked)).arrayBuffer();
  const length = new DataView(content).getUint32(0, true);
  const view = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 4, length)));
  const pixels = view.height * view.width;
  ["labels", "runnersUp", "scores", "leads"].forEach((name, index) => {
    view[name] = new Uint16Array(content, 4 + length + 2 * index * pixels, pixels);
  });
  return view;
}

export async function download(address, asked) {
  return (await send(address, asked)).blob();
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
