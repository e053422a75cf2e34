// The classes of a view as a layer of colours. Which pixels are painted is decided here, without a request.

const FULL = 65535; // a score of 1; the label of a pixel without data

export class Painting {
  constructor(view) {
    this.view = view;
    this.shown = view.classes.map(() => true);
    this.highlighted = null; // number of a class
    this.least = this.left = 0; // pixels of a lower score are left out; their number
    this.canvas = document.createElement("canvas");
    [this.canvas.width, this.canvas.height] = [view.width, view.height];
    this.context = this.canvas.getContext("2d");
    this.image = this.context.createImageData(view.width, view.height);
    this.colors = new Uint32Array(this.image.data.buffer);
    this.histogram = new Uint32Array(FULL + 1);
    this.pixels = 0;
    view.labels.forEach((label, index) => {
      if (label === FULL) return;
      this.histogram[view.scores[index]] += 1;
      this.pixels += 1;
    });
  }

  // Leave out this fraction of the pixels: those of the lowest scores.
  leaveOut(fraction) {
    const wanted = fraction * this.pixels;
    this.left = this.least = 0;
    while (this.left < wanted && this.least < FULL) this.left += this.histogram[this.least++];
  }

  // The score that divides the pixels in the same way at full precision, and the fraction that is left out.
  get threshold() {
    return this.least ? (this.least - 1) / FULL + this.view.step / 2 : 0;
  }

  get leftOut() {
    return this.left / Math.max(1, this.pixels);
  }

  // Paint the layer; returns {kept, all, leads}: pixels painted, all pixels, and sums of leads, for each class.
  paint() {
    const { labels, scores, leads, classes } = this.view;
    const kept = new Float64Array(classes.length), all = new Float64Array(classes.length);
    const sums = new Float64Array(classes.length);
    const palette = this.#palette();
    for (let index = 0; index < labels.length; index += 1) {
      const label = labels[index];
      let color = 0;
      if (label !== FULL) {
        all[label] += 1;
        if (scores[index] >= this.least) {
          kept[label] += 1;
          sums[label] += leads[index];
          color = palette[label];
        }
      }
      this.colors[index] = color;
    }
    this.context.putImageData(this.image, 0, 0);
    return { kept, all, leads: sums.map(sum => sum / FULL) };
  }

  // The pixel at a position (0..1, 0..1): {label, next, lead, leftOut}; null where there is no data.
  at([across, down]) {
    const { width, height, labels, runnersUp, scores, leads } = this.view;
    const index = Math.floor(down * height) * width + Math.floor(across * width);
    if (labels[index] === FULL) return null;
    return { label: labels[index], next: runnersUp[index], lead: leads[index] / FULL, leftOut: scores[index] < this.least };
  }

  #palette() {
    const bytes = new Uint8Array(4 * this.view.classes.length);
    this.view.classes.forEach(({ color }, label) => {
      const faded = this.highlighted !== null && this.highlighted !== label;
      const alpha = this.shown[label] || this.highlighted === label ? (faded ? 40 : 255) : 0;
      bytes.set([...color, alpha], 4 * label);
    });
    return new Uint32Array(bytes.buffer);
  }
}
