
// Why: heat over the chosen image, and the gradient at its pixels.

if (data.why) {
  const slider = byId("why-opacity");

  function layered(number, heat) {
    const picture = make("canvas", { className: "pixels" });
    paintTile(picture, "images", number);
    const stack = make("div", { className: "stack" }, picture);
    if (heat) stack.append(make("img", { src: heat, alt: "", className: "heat" }));
    return stack;
  }

  function picture(element, caption, label) {
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", label);
    return make("figure", {}, element, make("figcaption", { textContent: caption }));
  }

  function reason(number, { class: name, predicted, true: isTrue, share, heat, gradient }) {
    const kind = predicted && isTrue ? "predicted, and right" : predicted ? "predicted" : isTrue ? "its true class" : "asked for";
    const title = make("h3", {}, predicted ? "Why " : "What speaks for ", make("bdi", { textContent: name }), predicted ? "?" : "");
    const words = make("p", { className: "quiet", textContent: share ? `${kind}, ${share}` : kind });
    const pictures = make("div", { className: "pair" });
    pictures.append(picture(layered(number, heat), heat ? "where (heat)" : "no heat is known", `heat for ${name}`));
    if (gradient) {
      const image = make("img", { src: gradient, alt: "", className: "pixels" });
      pictures.append(picture(make("div", { className: "stack" }, image), "which pixels (gradient)", `gradient for ${name}`));
    }
    return make("div", { className: "reason" }, title, words, pictures);
  }

  function fade() {
    byId("why-opacity-name").textContent = `${slider.value} %`;
    for (const heat of document.querySelectorAll(".heat")) heat.style.opacity = slider.value / 100;
  }

  function show(number) {
    const { reasons } = data.why[number];
    const none = make("p", { className: "note", textContent: "For this image, nothing was asked." });
    byId("why-reasons").replaceChildren(...(reasons.length ? reasons.map((of) => reason(number, of)) : [none]));
    fade();
  }

  slider.addEventListener("input", fade);
  whenChosen.push(show);
  show(0);
}
