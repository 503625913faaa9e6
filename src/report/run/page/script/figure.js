
// The figure below the maps: how one number of a map is made. Its sum and the value of the map are the training plan's own
// numbers; the products are those of the numbers that it read.

if (maps) {
  const panel = byId("figure");
  const words = byId("figure-words");
  const body = byId("figure-body");
  const unpacked = new Map();
  /** The channel that is shown; null for the one with the largest sum. */
  let channelShown = null;

  function bytes(base64) {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  }

  function floats(buffer) {
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    return Float32Array.from({ length: buffer.byteLength / 4 }, (_, at) => view.getFloat32(4 * at, true));
  }

  /** The numbers of an image at a layer; null where the page or the browser has none. */
  function numbers(image, layer) {
    const key = `${image} ${layer}`;
    if (!unpacked.has(key)) unpacked.set(key, unpack(data.maps.images[image].numbers[layer], data.maps.layers[layer]));
    return unpacked.get(key);
  }

  async function unpack(packed, { size, convolution }) {
    if (!packed || !convolution || !("DecompressionStream" in window)) return null;
    const stream = new Blob([bytes(packed)]).stream().pipeThrough(new DecompressionStream("deflate"));
    const all = floats(new Uint8Array(await new Response(stream).arrayBuffer()));
    const product = (sizes) => sizes.reduce((all, side) => all * side, 1);
    const [input, output] = [product(convolution.input), product(size)];
    convolution.weights ??= floats(bytes(convolution.filters));
    convolution.biases ??= floats(bytes(convolution.bias));
    return {
      input: all.subarray(0, input),
      sums: all.subarray(input, input + output),
      output: all.subarray(input + output),
    };
  }

  /** The window of the input, the filter and their products, channel by channel. */
  function terms({ map, row, column }, convolution, input, count) {
    const { kernel, groupChannels, groups, stride, padding, dilation, weights } = convolution;
    const [height, width, channels] = convolution.input;
    const first = Math.floor(map / (count / groups)) * groupChannels;
    return Array.from({ length: groupChannels }, (_, channel) => {
      const cells = [];
      for (let r = 0; r < kernel[0]; r += 1) {
        for (let s = 0; s < kernel[1]; s += 1) {
          const y = row * stride[0] - padding[0] + r * dilation[0];
          const x = column * stride[1] - padding[1] + s * dilation[1];
          const isPadding = y < 0 || x < 0 || y >= height || x >= width;
          const read = isPadding ? 0 : input[(y * width + x) * channels + first + channel];
          const weight = weights[((map * kernel[0] + r) * kernel[1] + s) * groupChannels + channel];
          cells.push({ r, s, y, x, isPadding, read, weight, product: read * weight });
        }
      }
      return { channel: first + channel, cells, sum: cells.reduce((sum, cell) => sum + cell.product, 0) };
    });
  }

  /** A number in about four letters. */
  function short(value) {
    const magnitude = Math.abs(value);
    if (!(magnitude < 1e4)) return figure(value);
    if (magnitude < 5e-4) return magnitude === 0 ? "0" : "≈0";
    const decimals = magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : magnitude >= 0.0995 ? 2 : 3;
    return value.toFixed(decimals).replace("-", "−").replace("0.", ".");
  }

  /** A table of numbers on their colours. */
  function grid(title, cells, [, across], value, colour) {
    const size = across <= 3 ? "roomy" : across <= 5 ? "" : across <= 7 ? "tight" : "tiny";
    const table = make("div", { className: `grid ${size}` });
    table.style.gridTemplateColumns = `repeat(${across}, auto)`;
    for (const cell of cells) {
      const item = make("span", { textContent: short(value(cell)), title: `row ${cell.r}, column ${cell.s}: ${figure(value(cell), 4)}` });
      if (cell.isPadding) item.className = "padding";
      else {
        const shade = colour(value(cell));
        item.style.background = `rgb(${shade})`;
        item.style.color = shade[0] * 0.3 + shade[1] * 0.59 + shade[2] * 0.11 > 135 ? "#111" : "#fff";
      }
      table.append(item);
    }
    return make("figure", {}, table, make("figcaption", { textContent: title }));
  }

  /** What the layer reads, with the window framed. */
  function overview(convolution, input, { channel, cells }) {
    const [height, width, channels] = convolution.input;
    const values = Float32Array.from({ length: height * width }, (_, at) => input[at * channels + channel]);
    const [low, high] = values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
    const plain = make("canvas", { width, height });
    const pixels = new ImageData(width, height);
    values.forEach((value, at) => pixels.data.set([...grey(value, low, high), 255], 4 * at));
    plain.getContext("2d").putImageData(pixels, 0, 0);
    const scale = Math.max(1, Math.round(120 / Math.max(width, height)));
    const canvas = make("canvas", { width: width * scale, height: height * scale, className: "overview" });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(plain, 0, 0, width * scale, height * scale);
    const [first, last] = [cells[0], cells[cells.length - 1]];
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--mark");
    context.lineWidth = 2;
    context.strokeRect(first.x * scale, first.y * scale, (last.x - first.x + 1) * scale, (last.y - first.y + 1) * scale);
    const title = channels > 1 ? `it reads channel ${channel}` : "it reads";
    return { element: make("figure", {}, canvas, make("figcaption", { textContent: title })), low, high };
  }

  const grey = (value, low, high) => Array(3).fill(high > low ? Math.round((255 * (value - low)) / (high - low)) : 128);

  const sign = (text) => make("span", { className: "sign", textContent: text });

  const result = (value, title, className = "") =>
    make("figure", { className }, make("span", { className: "number", textContent: figure(value, 4) }), make("figcaption", { textContent: title }));

  function explain(place, layer, found) {
    const { convolution, size: [, width, count], followedBy } = layer;
    const channels = terms(place, convolution, found.input, count);
    const at = (place.row * width + place.column) * count + place.map;
    const [sum, output] = [found.sums[at], found.output[at]];
    const bias = convolution.biases.length ? convolution.biases[place.map] : null;
    const largest = [...channels].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
    const shown = channels.find(({ channel }) => channel === channelShown) ?? largest[0];
    const all = channels.flatMap(({ channel, cells }) => cells.map((cell) => ({ ...cell, channel })));
    const most = (value) => Math.max(...all.map((cell) => Math.abs(value(cell))), 1e-30);
    const [mostWeight, mostProduct] = [most((cell) => cell.weight), most((cell) => cell.product)];
    const seen = overview(convolution, found.input, shown);

    const products = all.length === 1 ? "1 product" : `${all.length} products`;
    words.textContent =
      `${layer.name}, map ${place.map}, row ${place.row}, column ${place.column}: the sum of ${products} is ${figure(sum, 4)}` +
      (bias === null ? "" : `, with the bias ${figure(sum + bias, 4)}`) +
      `; ${followedBy ? `after ${followedBy}` : "the map's value is"} ${figure(output, 4)}.`;

    const { kernel } = convolution;
    const row = make(
      "div",
      { className: "equation" },
      seen.element,
      grid("patch", shown.cells, kernel, (cell) => cell.read, (value) => grey(value, seen.low, seen.high)),
      sign("×"),
      grid("filter", shown.cells, kernel, (cell) => cell.weight, (value) => diverging(value / mostWeight)),
      sign("="),
      grid("products", shown.cells, kernel, (cell) => cell.product, (value) => diverging(value / mostProduct)),
    );
    const end = make("div", { className: "equation" });
    if (channels.length > 1) {
      end.append(result(shown.sum, `sum of channel ${shown.channel}`), sign("+"), result(sum - shown.sum, "sum of the others"), sign("="));
    } else {
      end.append(sign("Σ"), sign("="));
    }
    end.append(result(sum, "sum"));
    if (bias !== null) end.append(sign("+"), result(bias, "bias"));
    if (followedBy) end.append(sign("→"), make("span", { className: "step", textContent: followedBy }));
    end.append(sign(followedBy ? "→" : "="), result(output, "value of the map", "final"));

    const parts = [make("div", {}, row, end)];
    if (channels.length > 1) parts.push(make("div", { className: "more" }, ...sums(channels, shown, largest), ...strongest(all)));
    body.replaceChildren(...parts);
  }

  /** The sum of each channel as a bar, of which one can be chosen. */
  function sums(channels, shown, largest) {
    const most = Math.max(Math.abs(largest[0].sum), 1e-30);
    const bars = make("div", { className: "bars" });
    for (const { channel, sum } of channels) {
      const bar = make("span", { className: "bar" });
      const height = (50 * Math.abs(sum)) / most;
      bar.style.height = `${height}%`;
      bar.style.top = `${sum >= 0 ? 50 - height : 50}%`;
      bar.style.background = `rgb(${diverging(sum >= 0 ? 1 : -0.6)})`;
      const name = `channel ${channel}: ${figure(sum)}`;
      const button = make("button", { type: "button", title: name, ariaLabel: name }, bar);
      button.setAttribute("aria-pressed", String(channel === shown.channel));
      button.addEventListener("click", () => {
        channelShown = channel;
        show(maps.place);
      });
      bars.append(button);
    }
    return [make("p", { className: "quiet", textContent: "Sum of each channel; choose one to see its products." }), bars];
  }

  function strongest(all) {
    const terms = [...all].sort((a, b) => Math.abs(b.product) - Math.abs(a.product)).slice(0, 5);
    const list = make("ol", {});
    for (const { channel, r, s, read, weight, product } of terms) {
      const text = `${figure(read)} × ${figure(weight)} = ${figure(product)}`;
      list.append(make("li", {}, text, make("span", { className: "quiet", textContent: ` channel ${channel} at ${r}, ${s}` })));
    }
    return [make("p", { className: "quiet", textContent: "The largest products." }), list];
  }

  async function show(place) {
    panel.hidden = place === null;
    if (place === null) return;
    const layer = data.maps.layers[place.layer];
    const found = maps.isLastEpoch ? await numbers(maps.image, place.layer).catch(() => null) : null;
    if (maps.place !== place) return;
    if (found) {
      explain(place, layer, found);
      return;
    }
    if (!maps.source(place.layer)) return;
    const [from, to] = await maps.shade(place);
    const value = to === Infinity ? `${figure(from)} or more` : from === -Infinity ? `${figure(to)} or less` : `about ${figure(from)}`;
    if (maps.place !== place) return;
    const why = !maps.isLastEpoch
      ? " The sums behind it are kept for the last epoch only."
      : data.maps.images[maps.image].numbers[place.layer]
        ? " This browser cannot unpack the numbers behind it."
        : " The numbers behind it are not kept for this image, to keep the page small.";
    words.textContent = `${layer.name}, map ${place.map}, row ${place.row}, column ${place.column}: ${value}.${why}`;
    body.replaceChildren();
  }

  maps.whenPointed = show;
  byId("figure-close").addEventListener("click", () => maps.go(null));
  for (const button of panel.querySelectorAll("[data-across]")) {
    button.addEventListener("click", () => maps.move(0, Number(button.dataset.down), Number(button.dataset.across)));
  }
}
