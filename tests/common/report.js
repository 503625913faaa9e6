// What a reader would do with the page of a small run; `check` notes what is not as it should be.

await settled();

const pointAt = (element, x, y, type = "pointermove") => {
  const box = element.getBoundingClientRect();
  const at = { bubbles: true, clientX: box.left + x, clientY: box.top + y, pointerType: "mouse" };
  element.dispatchEvent(new PointerEvent(type, at));
};
const press = (element, key) => element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const colours = (canvas) => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data].join();
const painted = () => [...document.querySelectorAll("canvas.pixels")].filter((canvas) => canvas.width === 300);

check("every picture is painted", painted().length === 0);

// Curves.
const [loss, accuracy] = document.querySelectorAll("[data-chart]");
const reading = () => loss.querySelector("output").textContent;
pointAt(loss.querySelector(".plot"), 150, 80);
const first = reading();
check(`a curve is read: ${first}`, /^step [\d,]+: training batches \d/.test(first) && first.includes("test images"));
check("all curves at once", accuracy.querySelector("output").textContent.includes("%"));
press(loss.querySelector(".plot"), "ArrowRight");
check("and by keyboard", reading() !== first);

// Film.
const slider = byId("film-moment");
const filter = document.querySelector('[data-film="0"][data-column="0"]');
const last = colours(filter);
check("the film ends with the last epoch", byId("film-name").textContent.startsWith("epoch"));
slider.value = 0;
slider.dispatchEvent(new Event("input"));
await settled();
check("the start looks different", colours(filter) !== last && byId("film-name").textContent === "start");
check("there is no gradient at the start", byId("film-gradient").textContent.startsWith("Before"));
byId("film-play").click();
await later(900);
check("it plays", Number(slider.value) > 0 && byId("film-play").textContent === "Pause");
byId("film-play").click();
check("it stops", byId("film-play").textContent === "Play");

// Maps: the numbers of a place, and that they add up.
const canvas = document.querySelector('canvas.maps[data-layer="0"]');
await later(50);
pointAt(canvas, 40, 40);
await settled();
const words = () => byId("figure-words").textContent;
check(`a number is explained: ${words()}`, /^conv1, map 0, row 13, column 13: the sum of 25 products is/.test(words()));
const numbers = (title) => {
  const figures = [...document.querySelectorAll("#figure-body figure")];
  return figures.find((figure) => figure.querySelector("figcaption").textContent === title);
};
const read = (text) => Number(text.replace("−", "-"));
const cells = (title) => [...numbers(title).querySelectorAll(".grid span")].map((cell) => read(cell.title.split(": ")[1]));
const products = cells("products");
const sum = read(numbers("sum").querySelector(".number").textContent);
check("the products add up", products.length === 25 && Math.abs(products.reduce((a, b) => a + b, 0) - sum) < 2e-3);
check("products are products", cells("patch").every((value, at) => Math.abs(value * cells("filter")[at] - products[at]) < 1e-3));
const before = words();
press(canvas, "ArrowUp");
await settled();
check(`arrows move: ${words()}`, words() !== before && words().includes("row 12"));
press(canvas, "PageDown");
await settled();
check("pages change the map", words().includes("map 1,"));
for (let step = 0; step < 14; step += 1) press(canvas, "ArrowUp");
await settled();
check("padding is zero and grey", document.querySelectorAll(".grid .padding").length > 0);
const deep = document.querySelector('canvas.maps[data-layer="1"]');
press(deep, "ArrowLeft");
await settled();
check(`a deeper one: ${words()}`, words().startsWith("conv2, map 0, row 7, column 7: the sum of 72 products"));
const bars = document.querySelectorAll(".bars button");
check("channels are summed", bars.length === 8 && document.querySelectorAll("#figure ol li").length === 5);
bars[6].click();
await settled();
check("a channel is chosen", numbers("it reads channel 6") !== undefined);
const epoch = byId("maps-epoch");
const shown = colours(canvas);
epoch.value = 0;
epoch.dispatchEvent(new Event("input"));
await settled();
check("an earlier epoch has other maps", colours(canvas) !== shown && words().includes("last epoch only"));
epoch.value = epoch.max;
epoch.dispatchEvent(new Event("input"));
document.querySelectorAll('input[name="maps-image"]')[4].click();
await settled();
check("both choosers agree", document.querySelectorAll('input[name="why-image"]')[4].checked);
byId("figure-close").click();
check("the figure closes", byId("figure").hidden);

// Answers.
const cell = document.querySelector("#matrix td:not(.right) [data-cell]");
const count = cell.textContent;
document.querySelector('[data-matrix="shares"]').click();
check("shares are shown", cell.textContent !== count && cell.textContent.includes("."));
document.querySelector('[data-matrix="counts"]').click();
check("and counts again", cell.textContent === count);
cell.click();
await settled();
check("a cell opens its images", byId("gallery").open && document.querySelectorAll("#gallery .card").length > 0);
check("they are painted", painted().length === 0);
byId("gallery-close").click();
check("and closes", !byId("gallery").open);

// Why.
check("for the predicted and for the true class", document.querySelectorAll(".reason").length === 2);
const opacity = byId("why-opacity");
opacity.value = 20;
opacity.dispatchEvent(new Event("input"));
check("heat fades", document.querySelector(".heat").style.opacity === "0.2");

check("nothing is wider than the page", document.documentElement.scrollWidth <= window.innerWidth);
