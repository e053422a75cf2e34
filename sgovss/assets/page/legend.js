// The legend: classes on and off, highlighted under the pointer or the focus, with shares, areas and leads.

export class Legend {
  constructor(table, every, areaHead, onChange) {
    this.body = table.tBodies[0];
    this.every = every;
    this.areaHead = areaHead;
    this.onChange = onChange;
    every.onchange = () => {
      this.painting.shown.fill(every.checked);
      this.rows.forEach(row => { row.box.checked = every.checked; });
      this.#changed();
    };
  }

  show(painting) {
    this.painting = painting;
    const { classes } = painting.view;
    this.hasAreas = classes.some(entry => entry.area !== null);
    this.areaHead.hidden = !this.hasAreas;
    this.rows = classes.map((entry, label) => this.#row(entry, label));
    const order = [...this.rows].sort((a, b) => b.entry.share - a.entry.share);
    this.body.replaceChildren(...order.map(row => row.line), this.#leftOut());
    this.#changed();
  }

  // Write shares, areas and leads of the painted pixels, counted by Painting.paint.
  count({ kept, all, leads }) {
    let rest = 1;
    this.rows.forEach(({ entry, cells, line }, label) => {
      const part = all[label] ? kept[label] / all[label] : 1;
      rest -= entry.share * part;
      cells.share.textContent = percent(entry.share * part);
      cells.area.textContent = this.hasAreas ? area(entry.area * part) : "";
      cells.lead.textContent = kept[label] ? percent(leads[label] / kept[label]) : "–";
      line.classList.toggle("off", !this.painting.shown[label]);
    });
    this.rest.hidden = !this.painting.least;
    this.rest.cells[1].textContent = percent(Math.max(0, rest));
  }

  #row(entry, label) {
    const line = document.createElement("tr");
    const cells = { name: line.insertCell(), share: line.insertCell(), area: line.insertCell(), lead: line.insertCell() };
    const box = document.createElement("input");
    const text = document.createElement("label");
    box.type = "checkbox";
    box.checked = true;
    text.append(box, swatch(entry.color), entry.name);
    cells.name.append(text);
    cells.area.hidden = !this.hasAreas;
    box.onchange = () => {
      this.painting.shown[label] = box.checked;
      this.#changed();
    };
    for (const [on, off] of [["pointerenter", "pointerleave"], ["focusin", "focusout"]]) {
      line.addEventListener(on, () => this.#highlight(label));
      line.addEventListener(off, () => this.#highlight(null));
    }
    return { entry, line, box, cells };
  }

  #leftOut() {
    this.rest = document.createElement("tr");
    this.rest.className = "off";
    ["left out", "", "", ""].forEach(text => { this.rest.insertCell().textContent = text; });
    this.rest.cells[2].hidden = !this.hasAreas;
    return this.rest;
  }

  #highlight(label) {
    this.painting.highlighted = label;
    this.onChange();
  }

  #changed() {
    const { shown } = this.painting;
    this.every.checked = shown.every(Boolean);
    this.every.indeterminate = !this.every.checked && shown.some(Boolean);
    this.onChange();
  }
}

export function swatch(color) {
  const mark = document.createElement("span");
  mark.className = "swatch";
  mark.style.background = `rgb(${color.join(",")})`;
  return mark;
}

export function percent(part) {
  if (part > 0 && part < 0.001) return "<0.1 %";
  return `${(100 * part).toFixed(part < 0.0995 ? 1 : 0)} %`;
}

function area(metres) {
  const [number, unit] = metres < 1e4 ? [metres, "m²"] : metres < 1e6 ? [metres / 1e4, "ha"] : [metres / 1e6, "km²"];
  return `${number < 100 ? number.toPrecision(3) : Math.round(number).toLocaleString("en")} ${unit}`;
}
