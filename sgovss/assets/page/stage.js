// The picture and the painted classes on a canvas, with zoom and pan by wheel, pointers, pinch and keys.

const LARGEST = 40; // screen pixels for one pixel of the picture

export class Stage {
  constructor(canvas, onPoint) {
    this.canvas = canvas;
    this.onPoint = onPoint; // called with the position (0..1, 0..1) in the picture to describe, or null
    this.picture = this.layer = null;
    this.opacity = 0.55;
    this.pointers = new Map();
    new ResizeObserver(() => this.#resize()).observe(canvas);
    canvas.addEventListener("wheel", event => this.#wheel(event), { passive: false });
    canvas.addEventListener("dblclick", event => this.zoom(2, event.offsetX, event.offsetY));
    canvas.addEventListener("pointerdown", event => this.#down(event));
    canvas.addEventListener("pointermove", event => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => this.#up(event));
    canvas.addEventListener("pointerleave", () => this.onPoint(null));
    canvas.addEventListener("keydown", event => this.#key(event));
  }

  setPicture(picture) {
    this.picture = picture;
    this.layer = null;
    this.canvas.classList.toggle("shown", picture !== null);
    this.fit();
  }

  setLayer(layer) {
    this.layer = layer;
    this.draw();
  }

  setOpacity(opacity) {
    this.opacity = opacity;
    this.draw();
  }

  fit() {
    if (!this.picture) return this.draw();
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.smallest = Math.min(width / this.picture.width, height / this.picture.height);
    this.scale = this.smallest;
    this.x = (width - this.picture.width * this.scale) / 2;
    this.y = (height - this.picture.height * this.scale) / 2;
    this.draw();
  }

  // Zoom by a factor around a point of the canvas, by default its middle.
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    if (!this.picture) return;
    const scale = Math.min(Math.max(this.scale * factor, this.smallest), Math.max(LARGEST, this.smallest));
    this.x = x - (x - this.x) * scale / this.scale;
    this.y = y - (y - this.y) * scale / this.scale;
    this.scale = scale;
    this.pan(0, 0);
  }

  pan(right, down) {
    if (!this.picture) return;
    const { clientWidth, clientHeight } = this.canvas;
    this.x = inside(this.x + right, clientWidth, this.picture.width * this.scale);
    this.y = inside(this.y + down, clientHeight, this.picture.height * this.scale);
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.#paint();
    });
  }

  // Draw the whole picture with its classes on a canvas of its own.
  whole() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.picture.width, this.picture.height];
    this.#compose(canvas.getContext("2d"), canvas.width, canvas.height);
    return canvas;
  }

  #paint() {
    const ratio = devicePixelRatio;
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.picture) return;
    context.setTransform(ratio, 0, 0, ratio, this.x * ratio, this.y * ratio);
    context.imageSmoothingEnabled = this.scale < 3;
    this.#compose(context, this.picture.width * this.scale, this.picture.height * this.scale);
  }

  #compose(context, width, height) {
    context.drawImage(this.picture, 0, 0, width, height);
    if (!this.layer) return;
    context.globalAlpha = this.opacity;
    context.drawImage(this.layer, 0, 0, width, height);
    context.globalAlpha = 1;
  }

  #resize() {
    const ratio = devicePixelRatio;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    this.fit();
  }

  #wheel(event) {
    if (!this.picture) return;
    event.preventDefault();
    const step = event.deltaMode === 1 ? 30 : 1; // some browsers count lines
    this.zoom(Math.exp(-event.deltaY * step / 400), event.offsetX, event.offsetY);
  }

  #down(event) {
    if (!this.picture) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.classList.add("dragged");
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.#tell(event.offsetX, event.offsetY);
  }

  #move(event) {
    if (!this.picture) return;
    const before = this.pointers.get(event.pointerId);
    const now = { x: event.offsetX, y: event.offsetY };
    if (before) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
      this.pan((now.x - before.x) / this.pointers.size, (now.y - before.y) / this.pointers.size);
      if (other) this.zoom(distance(now, other) / distance(before, other), (now.x + other.x) / 2, (now.y + other.y) / 2);
      this.pointers.set(event.pointerId, now);
    }
    this.#tell(now.x, now.y);
  }

  #up(event) {
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.canvas.classList.remove("dragged");
  }

  #key(event) {
    if (!this.picture || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 60;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) this.pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.fit();
    else return;
    event.preventDefault();
    this.#tell(this.canvas.clientWidth / 2, this.canvas.clientHeight / 2); // keys have no pointer: describe the middle
  }

  #tell(x, y) {
    const across = (x - this.x) / (this.picture.width * this.scale);
    const down = (y - this.y) / (this.picture.height * this.scale);
    this.onPoint(across >= 0 && across < 1 && down >= 0 && down < 1 ? [across, down] : null);
  }
}

function distance(a, b) {
  return Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
}

// Keep a side of the picture in the middle if it fits, else without a gap at either end.
function inside(start, room, side) {
  return side <= room ? (room - side) / 2 : Math.min(0, Math.max(room - side, start));
}
