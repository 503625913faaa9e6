
// The curves: one moment of the training is read in all of them, wherever the reader points.

{
  const SVG = "http://www.w3.org/2000/svg";
  const charts = [...document.querySelectorAll("[data-chart]")].map((element) => {
    const svg = element.querySelector("svg");
    const line = svg.appendChild(document.createElementNS(SVG, "line"));
    line.setAttribute("class", "marker");
    const chart = data.run[element.dataset.chart];
    const dots = chart.lines.map((curve) => {
      const dot = svg.appendChild(document.createElementNS(SVG, "circle"));
      dot.setAttribute("class", curve.second ? "marker second" : "marker");
      dot.setAttribute("r", chart.size[0] / 90);
      return dot;
    });
    return { ...chart, element, line, dots, svg };
  });
  const steps = [...new Set(charts.flatMap((chart) => chart.lines.flatMap((line) => line.x)))].sort((a, b) => a - b);
  let current = steps.length - 1;

  const nearest = (sorted, value) => {
    let best = 0;
    for (let at = 1; at < sorted.length; at += 1) {
      if (Math.abs(sorted[at] - value) <= Math.abs(sorted[best] - value)) best = at;
    }
    return best;
  };

  const between = (value, [from, to], [start, end]) => start + ((value - from) / (to - from)) * (end - start);

  function read(at) {
    current = Math.min(steps.length - 1, Math.max(0, at));
    for (const chart of charts) {
      const words = chart.lines.map((line, number) => {
        const place = nearest(line.x, steps[current]);
        const [x, y] = [line.x[place], line.y[place]];
        const across = between(x, chart.x, chart.across);
        const shown = Math.min(chart.y[1], Math.max(chart.y[0], y));
        chart.dots[number].setAttribute("cx", across);
        chart.dots[number].setAttribute("cy", between(shown, chart.y, [chart.down[1], chart.down[0]]));
        if (number === 0) {
          for (const end of ["x1", "x2"]) chart.line.setAttribute(end, across);
          chart.line.setAttribute("y1", chart.down[0]);
          chart.line.setAttribute("y2", chart.down[1]);
        }
        const name = chart.lines.length > 1 ? `${line.name} ` : "";
        return `step ${x.toLocaleString("en")}: ${name}${chart.percent ? percent(y) : figure(y)}`;
      });
      chart.element.classList.add("read");
      chart.element.querySelector("output").textContent = words.join(" · ");
    }
  }

  for (const chart of charts) {
    const plot = chart.element.querySelector(".plot");
    const point = (event) => {
      const box = chart.svg.getBoundingClientRect();
      const across = ((event.clientX - box.left) / box.width) * chart.size[0];
      read(nearest(steps, between(across, chart.across, chart.x)));
    };
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    plot.addEventListener("focus", () => read(current));
    plot.addEventListener("keydown", (event) => {
      const far = Math.max(1, Math.round(steps.length / 10));
      const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -far, PageDown: far, Home: -steps.length, End: steps.length };
      if (!(event.key in moves)) return;
      event.preventDefault();
      read(current + moves[event.key]);
    });
  }
}
