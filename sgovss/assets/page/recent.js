// The words used before, kept by the browser.

const KEY = "sgovss.words";
const MOST = 4;

export class Recent {
  constructor(box, list, onChoose) {
    this.box = box;
    this.list = list;
    this.onChoose = onChoose;
    this.lists = this.#read();
    this.#show();
  }

  add(words) {
    const text = words.trim(); // line ends and tabs separate classes
    this.lists = [text, ...this.lists.filter(other => other !== text)].slice(0, MOST);
    try {
      localStorage.setItem(KEY, JSON.stringify(this.lists));
    } catch { /* storage is switched off or full; the list lasts as long as the page */ }
    this.#show();
  }

  #read() {
    try {
      const lists = JSON.parse(localStorage.getItem(KEY));
      return Array.isArray(lists) ? lists.filter(text => typeof text === "string").slice(0, MOST) : [];
    } catch {
      return [];
    }
  }

  #show() {
    this.box.hidden = this.lists.length < 2; // the latest is in the field already
    this.list.replaceChildren(...this.lists.slice(1).map(text => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text.replace(/\s+/g, " ");
      button.title = text;
      button.onclick = () => this.onChoose(text);
      return button;
    }));
  }
}
