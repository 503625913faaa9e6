//! An explanation as a person would write it on a board.

use std::fmt::Write;

use super::{Explanation, Pass, Pool, Tap, Weight};
use crate::report::short_name;

/// Largest width of a filter that is written as a matrix.
const MOST_COLUMNS: usize = 11;

/// Products and sums of channels that are listed.
const LISTED: usize = 8;

/// The explanation as text. Lines are at most some 100 characters long, unless names are.
pub fn board(explanation: &Explanation) -> String {
    forwards(explanation) + "\n" + &backwards(explanation)
}

/// The way from the patch to the pool.
pub fn forwards(explanation: &Explanation) -> String {
    let mut text = String::new();
    head(&mut text, explanation);
    forward(&mut text, explanation);
    text
}

/// The way back from the loss to a weight.
pub fn backwards(explanation: &Explanation) -> String {
    let mut text = String::new();
    backward(&mut text, explanation);
    text
}

/// Adds a line.
macro_rules! line {
    ($text:expr) => { $text.push('\n') };
    ($text:expr, $($arguments:tt)*) => {
        _ = writeln!($text, $($arguments)*)
    };
}

fn head(text: &mut String, it: &Explanation) {
    let answer =
        it.answer.iter().map(|(class, share)| format!("{} {:.1} %", short_name(class), 100.0 * share));
    let answer: Vec<String> = answer.collect();
    line!(text, "{}: the network says {}.", short_name(&it.image), answer.join(", "));
    line!(text);
    let [height, width, channels] = it.size;
    let [rows, columns] = it.map;
    line!(
        text,
        "{} has {} filters of {height}x{width}x{channels}; each is moved over the whole of what the layer reads, and makes a map of \
         {rows}x{columns}.",
        short_name(&it.layer),
        it.filters
    );
    let [row, column] = it.at;
    let (rows, columns) = (it.taps.iter().map(|tap| tap.at[0]), it.taps.iter().map(|tap| tap.at[1]));
    let span = |values: &mut dyn Iterator<Item = isize>| {
        let (low, high) =
            values.fold((isize::MAX, isize::MIN), |(low, high), value| (low.min(value), high.max(value)));
        if low == high { format!("{low}") } else { format!("{low} to {high}") }
    };
    line!(
        text,
        "Filter {} at row {row}, column {column} of its map looks at rows {}, columns {} (counted from 0):",
        it.filter,
        span(&mut rows.into_iter()),
        span(&mut columns.into_iter())
    );
    line!(text);
}

fn forward(text: &mut String, it: &Explanation) {
    let channels = it.size[2];
    let sum_of = |channel: usize| -> f64 {
        it.taps
            .iter()
            .skip(channel)
            .step_by(channels)
            .map(|tap| f64::from(tap.input) * f64::from(tap.weight))
            .sum()
    };
    let mut order: Vec<usize> = (0..channels).collect();
    order.sort_by(|&a, &b| sum_of(b).abs().total_cmp(&sum_of(a).abs()));
    if it.size[1] <= MOST_COLUMNS {
        if channels > 1 {
            line!(text, "in channel {}, which adds most:", it.taps[order[0]].at[2]);
        }
        matrices(text, it, order[0]);
    } else {
        line!(text, "the largest products:");
        let mut taps: Vec<&Tap> = it.taps.iter().collect();
        taps.sort_by(|a, b| b.product.abs().total_cmp(&a.product.abs()));
        for Tap { at: [row, column, channel], input, weight, product } in taps.into_iter().take(LISTED) {
            line!(text, "  ({row}, {column}, {channel})  {input:8.4} * {weight:8.4} = {product:8.4}");
        }
    }
    if channels > 1 {
        let listed = order.iter().take(LISTED);
        let sums: Vec<String> =
            listed.map(|&channel| format!("{}: {:.4}", it.taps[channel].at[2], sum_of(channel))).collect();
        let more = if channels > LISTED {
            format!(", and {} smaller ones", channels - LISTED)
        } else {
            String::new()
        };
        line!(text, "the products of each channel add up to  {}{more}", sums.join(", "));
    }
    line!(text, "sum of the {:4} products   {:10.6}", it.taps.len(), it.sum);
    if let Some(bias) = it.bias {
        line!(text, "the filter's bias          {bias:+10.6}");
        line!(text, "                         = {:10.6}", it.total);
    }
    let mut value = it.total;
    for Pass { layer, kind, value: next, .. } in &it.passes {
        let layer = short_name(layer);
        match kind.as_str() {
            "relu" => line!(text, "{layer}: max(0, {value:.6}) = {next:.6}, as for every value of the map"),
            _ => line!(text, "{layer} ({kind}) makes {next:.6} of {value:.6}"),
        }
        value = *next;
    }
    if let Some(Pool { layer, kind, window, winner, at: [row, column], value, .. }) = &it.pool {
        let members: Vec<String> = window.iter().map(|(.., value)| format!("{value:.4}")).collect();
        let (layer, [w_row, w_column]) = (short_name(layer), [window[*winner].0, window[*winner].1]);
        line!(text, "{layer}: the window holds {}", members.join(", "));
        match kind.as_str() {
            "max_pool" if [w_row, w_column] == it.at => {
                line!(
                    text,
                    "  the largest wins, which is ours, and goes on as row {row}, column {column}: {value:.6}"
                );
            }
            "max_pool" => {
                line!(
                    text,
                    "  the largest wins, which is that at row {w_row}, column {w_column}; ours goes no further"
                );
            }
            _ => line!(text, "  their mean goes on as row {row}, column {column}: {value:.6}"),
        }
    }
}

/// The patch, the filter and the products of a channel, side by side.
fn matrices(text: &mut String, it: &Explanation, channel: usize) {
    let [height, width, channels] = it.size;
    let tap = |row: usize, column: usize| &it.taps[(row * width + column) * channels + channel];
    let cells = width * 7;
    line!(text, "  {:<cells$}     {:<cells$}     {:<cells$}", "values", "filter", "products");
    for row in 0..height {
        let line = |of: fn(&Tap) -> f32| {
            (0..width).map(|column| format!("{:7.3}", of(tap(row, column)))).collect::<String>()
        };
        let middle = row == height / 2;
        let (times, equals) = if middle { (" *", " =") } else { ("  ", "  ") };
        let [values, filter, products] =
            [line(|tap| tap.input), line(|tap| tap.weight), line(|tap| tap.product)];
        line!(text, "  {values} {times}  {filter} {equals}  {products}");
    }
}

fn backward(text: &mut String, it: &Explanation) {
    let class = short_name(&it.class);
    let whose =
        if it.class_is_known { "the image's class" } else { "its answer, since nobody said what it is" };
    line!(text, "Backwards. The loss asks for {class}, {whose}: -ln(probability) = {:.6}.", it.loss);
    line!(
        text,
        "A derivative says how the loss would change with a value; each comes from the one behind it."
    );
    let mut arrives = None;
    if let Some(Pool { layer, kind, window, winner, gradient, .. }) = &it.pool {
        line!(text, "at the output of {}: {gradient:+.4e}", short_name(layer));
        let is_ours = [window[*winner].0, window[*winner].1] == it.at;
        match kind.as_str() {
            "max_pool" if is_ours => line!(text, "  the pool hands it to the winner alone: to ours"),
            "max_pool" => line!(text, "  the pool hands it to the winner alone, which is not ours"),
            _ => line!(text, "  the pool hands each of {} values its share", window.len()),
        }
    }
    for (number, Pass { layer, kind, value, gradient }) in it.passes.iter().enumerate().rev() {
        line!(text, "at the output of {}: {gradient:+.4e}", short_name(layer));
        let before = number.checked_sub(1).map_or(it.gradient, |before| it.passes[before].gradient);
        match kind.as_str() {
            "relu" if *value > 0.0 => {
                line!(text, "  the value is above 0, so relu hands it on: {before:+.4e}")
            }
            "relu" => line!(text, "  the value is 0, so relu hands nothing on: {before:+.4e}"),
            _ => line!(text, "  times the derivative of {kind}: {before:+.4e}"),
        }
        arrives = Some(before);
    }
    if arrives.is_none() {
        line!(text, "at the sum: {:+.4e}", it.gradient);
    }
    match &it.weight {
        Some(weight) => descend(text, it, weight),
        None => line!(text, "{} is frozen: its filters do not learn.", short_name(&it.layer)),
    }
}

/// The gradient of a weight, and the step.
fn descend(text: &mut String, it: &Explanation, of: &Weight) {
    let Weight { tap: [r, s, c], terms, nonzero, all, gradient, drawn, before, rate, after } = of;
    line!(text);
    line!(
        text,
        "The weight at row {r}, column {s}, channel {c} of filter {} was used at all {all} places of the map: it is shared.",
        it.filter
    );
    line!(
        text,
        "So its gradient is a sum over places, derivative there times value there; the largest terms:"
    );
    for term in terms {
        let [row, column] = term.at;
        line!(
            text,
            "  ({row:3}, {column:3})  {:+.4e} * {:8.4} = {:+.4e}",
            term.gradient,
            term.input,
            term.product
        );
    }
    line!(text, "  {nonzero} of {all} terms are not zero; they add up to  {gradient:+.6e}");
    if let Some((name, [fan_in, fan_out], bound)) = drawn {
        let formula = match name.as_str() {
            "glorot_uniform" => format!("sqrt(6 / ({fan_in} + {fan_out}))"),
            "he_uniform" => format!("sqrt(6 / {fan_in})"),
            _ => format!("1 / sqrt({fan_in})"),
        };
        line!(text, "At the start, {name} drew such weights between -{bound:.4} and {bound:.4}: {formula}.");
    }
    line!(text, "Gradient descent goes against the gradient:  w - rate * gradient");
    line!(text, "  {before:.8} - {rate} * {gradient:+.6e} = {after:.8}");
}
