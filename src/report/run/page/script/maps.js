
// The maps of an image: painted as large as there is room, by epoch; where the reader points, a figure explains the number.

/** Paints all maps and says, in `whenPointed`, which number of which map is pointed at. */
const maps = data.maps.images.length > 0 && byId("maps-layers") ? new (class {
  image = 0;
  /** The place in `data.maps.epochs`. */
  epoch = data.maps.epochs.length - 1;
  /** `{ layer, map, row, column }`, or null. */
  place = null;
  isHeld = false;
  whenPointed = () => {};
  canvases = [...document.querySelectorAll("canvas.maps")];
  /** How each canvas is laid out. */
  layouts = [];

  constructor() {
    const slider = byId("maps-epoch");
    slider?.addEventListener("input", () => {
      this.epoch = Number(slider.value);
      this.show();
    });
    whenChosen.push((number) => {
      this.image = number;
      this.show();
    });
    for (const [layer, canvas] of this.canvases.entries()) {
      canvas.addEventListener("pointermove", (event) => !this.isHeld && this.point(layer, event));
      canvas.addEventListener("pointerdown", (event) => {
        const isAgain = this.isHeld && this.place?.layer === layer;
        this.isHeld = event.pointerType === "mouse" && !isAgain;
        this.point(layer, event);
      });
      canvas.addEventListener("keydown", (event) => this.key(layer, event));
    }
    let width = 0;
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width === width) return;
      width = contentRect.width;
      this.show();
    }).observe(byId("maps-layers"));
  }

  get isLastEpoch() {
    return this.epoch === data.maps.epochs.length - 1;
  }

  /** Everything anew. */
  show() {
    const epoch = data.maps.epochs[this.epoch];
    const name = epoch === 0 ? "before the first step" : String(epoch);
    const output = byId("maps-epoch-name");
    if (output) {
      output.textContent = name;
      byId("maps-epoch").setAttribute("aria-valuetext", name);
    }
    this.canvases.forEach((_, layer) => this.paint(layer));
    if (this.place) this.whenPointed(this.place);
  }

  source(layer) {
    return data.maps.images[this.image].maps[this.epoch]?.[layer];
  }

  async paint(layer) {
    const canvas = this.canvases[layer];
    const src = this.source(layer);
    canvas.hidden = !src;
    if (!src) return;
    const picture = await loaded(src);
    if (src !== this.source(layer)) return;
    const { size: [height, width, count], columns: sourceColumns } = data.maps.layers[layer];
    const room = canvas.parentElement.clientWidth - canvas.offsetLeft + canvas.parentElement.offsetLeft;
    const gap = 4;
    const side = count > 20 ? 48 : 80;
    const scale = Math.max(0.25, Math.min(16, Math.round(side / Math.max(width, height)) || side / Math.max(width, height), room / width));
    const cell = [width * scale, height * scale];
    const columns = Math.max(1, Math.min(count, Math.floor((room + gap) / (cell[0] + gap))));
    const [across, down] = [columns * (cell[0] + gap) - gap, Math.ceil(count / columns) * (cell[1] + gap) - gap];
    const density = window.devicePixelRatio || 1;
    canvas.width = Math.round(across * density);
    canvas.height = Math.round(down * density);
    canvas.style.width = `${across}px`;
    canvas.style.height = `${down}px`;
    this.layouts[layer] = { columns, cell, gap, scale };
    const context = canvas.getContext("2d");
    context.scale(density, density);
    context.imageSmoothingEnabled = false;
    for (let map = 0; map < count; map += 1) {
      const [left, top] = this.corner(layer, map);
      const from = [(map % sourceColumns) * width, Math.floor(map / sourceColumns) * height];
      context.drawImage(picture, ...from, width, height, left, top, ...cell);
    }
    if (this.place?.layer === layer) this.mark(context);
  }

  corner(layer, map) {
    const { columns, cell, gap } = this.layouts[layer];
    return [(map % columns) * (cell[0] + gap), Math.floor(map / columns) * (cell[1] + gap)];
  }

  /** Frames the map and the number that are pointed at. */
  mark(context) {
    const { layer, map, row, column } = this.place;
    const { cell, scale } = this.layouts[layer];
    const [left, top] = this.corner(layer, map);
    const accent = getComputedStyle(document.documentElement).getPropertyValue("--mark");
    context.lineWidth = 2;
    context.strokeStyle = accent;
    context.strokeRect(left + 1, top + 1, cell[0] - 2, cell[1] - 2);
    const least = Math.max(scale, 4);
    const at = [left + (column + 0.5) * scale - least / 2, top + (row + 0.5) * scale - least / 2];
    context.lineWidth = 1.5;
    context.strokeRect(at[0] - 1, at[1] - 1, least + 2, least + 2);
  }

  point(layer, event) {
    const layout = this.layouts[layer];
    if (!layout) return;
    const { columns, cell, gap, scale } = layout;
    const [height, width, count] = data.maps.layers[layer].size;
    const box = this.canvases[layer].getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const [across, down] = [Math.floor(x / (cell[0] + gap)), Math.floor(y / (cell[1] + gap))];
    const map = down * columns + across;
    const inside = (value, most) => Math.min(most - 1, Math.max(0, Math.floor(value)));
    if (across < 0 || across >= columns || down < 0 || map >= count) return;
    const column = inside((x - across * (cell[0] + gap)) / scale, width);
    const row = inside((y - down * (cell[1] + gap)) / scale, height);
    this.go({ layer, map, row, column });
  }

  key(layer, event) {
    const moves = { ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0], PageUp: [-1, 0, 0], PageDown: [1, 0, 0] };
    if (event.key === "Escape") return this.go(null);
    if (!(event.key in moves)) return undefined;
    event.preventDefault();
    if (this.place?.layer !== layer) {
      const [height, width] = data.maps.layers[layer].size;
      return this.go({ layer, map: 0, row: Math.floor(height / 2), column: Math.floor(width / 2) });
    }
    return this.move(...moves[event.key]);
  }

  /** To a neighbour of the place that is pointed at, if there is one. */
  move(maps, rows, columns) {
    const { layer, map, row, column } = this.place;
    const [height, width, count] = data.maps.layers[layer].size;
    const to = { layer, map: map + maps, row: row + rows, column: column + columns };
    const isThere = to.map >= 0 && to.map < count && to.row >= 0 && to.row < height && to.column >= 0 && to.column < width;
    if (isThere) this.go(to);
  }

  go(place) {
    const before = this.place;
    const isSame = before && place && ["layer", "map", "row", "column"].every((key) => before[key] === place[key]);
    if (isSame) return;
    this.place = place;
    if (place === null) this.isHeld = false;
    if (before && before.layer !== place?.layer) this.paint(before.layer);
    if (place) this.paint(place.layer);
    this.whenPointed(place);
  }

  /** The number that is pointed at as the picture has it: `[from, to]`, one of 256 steps of the layer's scale, of which the
   *  last, and the first where it is negative, goes on to infinity. */
  async shade({ layer, map, row, column }) {
    const picture = await loaded(this.source(layer));
    const { size: [height, width], columns, range: [from, to] } = data.maps.layers[layer];
    const canvas = make("canvas", { width: 1, height: 1 });
    const context = canvas.getContext("2d");
    const at = [(map % columns) * width + column, Math.floor(map / columns) * height + row];
    context.drawImage(picture, ...at, 1, 1, 0, 0, 1, 1);
    const [shade] = context.getImageData(0, 0, 1, 1).data;
    const value = from + ((to - from) * shade) / 255;
    return [shade === 0 && from < 0 ? -Infinity : value, shade === 255 ? Infinity : value];
  }
})() : null;
