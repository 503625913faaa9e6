
// The confusion matrix: counts or shares, and the images behind a number.

if (data.answers) {
  const { images, cells, counts, classes } = data.answers;
  const gallery = byId("gallery");

  for (const button of document.querySelectorAll("[data-matrix]")) {
    button.addEventListener("click", () => {
      const isShares = button.dataset.matrix === "shares";
      for (const other of document.querySelectorAll("[data-matrix]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      for (const cell of document.querySelectorAll("#matrix [data-share]")) {
        cell.dataset.count ??= cell.textContent;
        cell.textContent = isShares ? cell.dataset.share : cell.dataset.count;
      }
    });
  }

  /** An image and what the network took it for. */
  function card(place) {
    const { row, class: is, top } = images[place];
    const canvas = make("canvas", { className: "pixels" });
    canvas.setAttribute("aria-hidden", "true");
    paintTile(canvas, "answers", place);
    const caption = make("figcaption", {}, make("span", { className: "is" }, "is ", make("bdi", { textContent: className(is) })));
    for (const [taken, share] of top.slice(0, 3)) {
      const name = make("bdi", { textContent: className(taken) });
      caption.append(make("span", { className: taken === is ? "said right" : "said" }, name, make("span", { textContent: percent(share) })));
    }
    caption.append(make("span", { className: "quiet", textContent: `image ${row}` }));
    return make("figure", { className: "card" }, canvas, caption);
  }

  function open(cell) {
    const [is, taken] = [Math.floor(cell / classes), cell % classes];
    const shown = cells[cell];
    const part = shown.length < counts[cell] ? `, ${shown.length} of ${counts[cell].toLocaleString("en")}` : "";
    const name = (number) => make("bdi", { textContent: className(number) });
    const words = is === taken ? [name(is), `, found as such${part}`] : [name(is), ", taken for ", name(taken), part];
    byId("gallery-title").replaceChildren(...words);
    byId("gallery-images").replaceChildren(...shown.map(card));
    gallery.showModal();
  }

  for (const button of document.querySelectorAll("[data-cell]")) {
    button.addEventListener("click", () => open(Number(button.dataset.cell)));
  }
  byId("gallery-close").addEventListener("click", () => gallery.close());
  // Beside the images is the rest of the page.
  gallery.addEventListener("click", (event) => event.target === gallery && gallery.close());
}
