//! Curves over the steps of a training, drawn by any backend of plotters.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::{Value, json};

use super::text::{count, figure, percent, rounded};
use crate::report::run::Curves;

/// The colours that charts are drawn with; the page's style replaces each by one that suits the reader's theme.
pub mod colours {
    use plotters::style::RGBColor;

    /// Letters and axes.
    pub const INK: RGBColor = RGBColor(0x55, 0x5b, 0x66);
    /// Lines that help the eye.
    pub const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xea);
    /// The training.
    pub const FIRST: RGBColor = RGBColor(0x1b, 0x5f, 0xa8);
    /// The held-out images.
    pub const SECOND: RGBColor = RGBColor(0xb3, 0x58, 0x06);
}

/// How the numbers of an axis are written.
#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    /// As they are.
    Plain,
    /// As percentages.
    Percent,
}

impl Unit {
    fn written(self, value: f64) -> String {
        match self {
            Unit::Plain => figure(value),
            Unit::Percent => percent(value),
        }
    }

    /// For an axis: without zeros at the end.
    fn tick(self, value: f64) -> String {
        match self {
            Unit::Percent => {
                format!("{:.4}", 100.0 * value).trim_end_matches('0').trim_end_matches('.').into()
            }
            Unit::Plain if value != 0.0 && value.abs() < 1e-4 => {
                let rounded = format!("{value:.2e}").parse().unwrap_or(value);
                format!("{rounded:e}").replace('-', "−")
            }
            Unit::Plain => format!("{value:.5}").trim_end_matches('0').trim_end_matches('.').into(),
        }
    }
}

/// A line of a chart.
pub struct Line {
    /// What it shows.
    pub name: String,
    /// Its points, from left to right; gaps have been left out.
    pub points: Vec<[f64; 2]>,
    /// Its colour.
    pub colour: RGBColor,
    /// Whether each point is marked.
    pub dots: bool,
}

/// A chart.
pub struct Chart {
    /// `loss`.
    pub title: &'static str,
    /// How numbers are written.
    pub unit: Unit,
    /// The lines.
    pub lines: Vec<Line>,
    x: [f64; 2],
    y: [f64; 2],
}

impl Chart {
    /// Nothing if no line has a point. Numbers far above all others are not shown in full.
    fn new(title: &'static str, unit: Unit, lines: Vec<Line>, x: [f64; 2]) -> Option<Chart> {
        let lines: Vec<Line> = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
        let mut values: Vec<f64> = lines.iter().flat_map(|line| &line.points).map(|point| point[1]).collect();
        values.sort_by(f64::total_cmp);
        let (&lowest, &highest) = (values.first()?, values.last()?);
        let usual = values[(values.len() - 1) * 19 / 20];
        let y = match unit {
            // From the first epoch on, most of the story is near the top.
            Unit::Percent => [(lowest - (1.0 - lowest) * 0.1).clamp(0.0, 0.98), 1.0],
            Unit::Plain => [lowest.min(0.0), highest.min(4.0 * usual.abs()).max(usual) * 1.05],
        };
        let y = if y[1] > y[0] { y } else { [y[0], y[0] + 1.0] };
        Some(Chart { title, unit, lines, x, y })
    }

    /// The charts of a training: loss, accuracy and learning rate, those of them that have numbers.
    pub fn all(curves: &Curves) -> Vec<Chart> {
        let held_out = if curves.held_out.is_empty() { "held-out" } else { &curves.held_out };
        let known = |points: &[[f64; 2]]| -> Vec<[f64; 2]> {
            points.iter().copied().filter(|point| point.iter().all(|value| value.is_finite())).collect()
        };
        let of_epochs = |figure: fn(&crate::report::run::EpochFigures) -> f64| -> Vec<[f64; 2]> {
            known(&curves.epochs.iter().map(|epoch| [epoch.step as f64, figure(epoch)]).collect::<Vec<_>>())
        };
        let losses = known(&curves.losses);
        let losses = if losses.is_empty() { of_epochs(|epoch| epoch.train_loss) } else { losses };
        let line = |name: String, points, colour, dots| Line { name, points, colour, dots };
        let [loss, accuracy] = [of_epochs(|epoch| epoch.loss), of_epochs(|epoch| epoch.accuracy)];
        let rates = known(&curves.rates);
        let steps = losses.iter().chain(&loss).chain(&accuracy).chain(&rates).map(|point| point[0]);
        let last = steps.fold(0.0, f64::max).max(1.0);
        let name = format!("{held_out} images");
        let charts = [
            Chart::new(
                "loss",
                Unit::Plain,
                vec![
                    line("training batches".into(), losses, colours::FIRST, false),
                    line(name.clone(), loss, colours::SECOND, true),
                ],
                [0.0, last],
            ),
            Chart::new(
                "accuracy",
                Unit::Percent,
                vec![line(name, accuracy, colours::SECOND, true)],
                [0.0, last],
            ),
            Chart::new(
                "learning rate",
                Unit::Plain,
                vec![line("learning rate".into(), rates, colours::FIRST, false)],
                [0.0, last],
            ),
        ];
        charts.into_iter().flatten().collect()
    }

    /// Draws it, `scale` times as large as on a screen, and says where across and down its numbers are.
    pub fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        scale: u32,
    ) -> Option<(Range<i32>, Range<i32>)> {
        let font = ("sans-serif", f64::from(15 * scale)).into_font().color(&colours::INK);
        let mut chart = ChartBuilder::on(area)
            .margin_right(14 * scale)
            .margin_top(8 * scale)
            .x_label_area_size(22 * scale)
            .y_label_area_size(52 * scale)
            .build_cartesian_2d(self.x[0]..self.x[1], self.y[0]..self.y[1])
            .ok()?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(ShapeStyle::from(&colours::GRID).stroke_width(scale))
            .axis_style(ShapeStyle::from(&colours::GRID).stroke_width(scale))
            .label_style(font)
            .x_labels(5)
            .y_labels(5)
            .set_all_tick_mark_size(5 * scale)
            .x_label_formatter(&|step| count(step.round().max(0.0) as u64))
            .y_label_formatter(&|value| self.unit.tick(*value))
            .draw()
            .ok()?;
        for line in &self.lines {
            let points: Vec<(f64, f64)> =
                line.points.iter().map(|&[x, y]| (x, y.clamp(self.y[0], self.y[1]))).collect();
            let style = ShapeStyle::from(&line.colour).stroke_width(if line.dots { 2 } else { 1 } * scale);
            chart.draw_series(LineSeries::new(points.iter().copied(), style)).ok()?;
            if line.dots || line.points.len() == 1 {
                let radius = 3 * scale;
                let dots = points.iter().map(|&point| Circle::new(point, radius, line.colour.filled()));
                chart.draw_series(dots).ok()?;
            }
        }
        Some(chart.plotting_area().get_pixel_range())
    }

    /// The chart as SVG, and the numbers that are shown where a reader points.
    pub fn svg(&self) -> Option<(String, Value)> {
        // Backends draw at whole pixels: of a large drawing, these are fine enough.
        const SCALE: u32 = 8;
        let size = [400 * SCALE, 250 * SCALE];
        let mut svg = String::new();
        let (across, down) = {
            let area = SVGBackend::with_string(&mut svg, size.into()).into_drawing_area();
            let ranges = self.draw(&area, SCALE)?;
            area.present().ok()?;
            ranges
        };
        // The page gives the outermost element itself, with a size of the reader's screen and words for a screen reader.
        let inner = svg.split_once('>')?.1.rsplit_once("</svg>")?.0.replace(" opacity=\"1\"", "");
        let lines = self.lines.iter().map(|line| {
            let points = line.points.iter();
            json!({
                "name": line.name,
                "second": line.colour == colours::SECOND,
                "x": points.clone().map(|point| point[0]).collect::<Vec<_>>(),
                "y": points.map(|point| rounded(point[1])).collect::<Vec<_>>(),
            })
        });
        let data = json!({
            "title": self.title,
            "percent": self.unit == Unit::Percent,
            "size": size,
            "x": self.x,
            "y": self.y,
            "across": [across.start, across.end],
            "down": [down.start, down.end],
            "lines": lines.collect::<Vec<_>>(),
        });
        Some((inner, data))
    }

    /// One sentence about what it shows, for those who do not see it.
    pub fn in_words(&self) -> String {
        let line = |line: &Line| {
            let [first, last] = [line.points.first(), line.points.last()]
                .map(|point| point.map_or(f64::NAN, |point| point[1]))
                .map(|value| self.unit.written(value));
            format!("{}: from {first} to {last}", line.name)
        };
        let lines: Vec<String> = self.lines.iter().map(line).collect();
        format!("{} by step; {}", self.title, lines.join("; "))
    }
}
