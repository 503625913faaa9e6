
// The film of the filters: a slider over its moments, and a button that plays them.

if (data.filters) {
  const { tile, moments } = data.filters;
  const slider = byId("film-moment");
  const button = byId("film-play");
  const canvases = [...document.querySelectorAll("[data-film]")];
  const SECONDS = 8;
  let timer = null;

  function show() {
    const moment = moments[slider.value];
    for (const canvas of canvases) {
      const { film, column } = canvas.dataset;
      paint(canvas, moment.src, [column * tile[0], film * tile[1], ...tile]);
    }
    const step = moment.step === 1 ? "1 step" : `${moment.step.toLocaleString("en")} steps`;
    const name = moment.step === 0 || moment.name.startsWith("step ") ? "" : `, after ${step}`;
    byId("film-name").textContent = moment.name + name;
    slider.setAttribute("aria-valuetext", moment.name + name);
    byId("film-gradient").textContent =
      moment.gradient === null ? "Before the first step there is no gradient." : `The gradient's scale at this moment: ±${moment.gradient}.`;
    byId("film").classList.toggle("no-gradient", moment.gradient === null);
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }

  function play() {
    if (slider.value === slider.max) slider.value = 0;
    show();
    button.textContent = "Pause";
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (slider.value === slider.max) stop();
    }, Math.min(700, (1000 * SECONDS) / moments.length));
  }

  button.addEventListener("click", () => (timer === null ? play() : stop()));
  slider.addEventListener("input", () => {
    stop();
    show();
  });
  show();
}
