//! Stories of trainings that never were, for tests of the report: digits, smooth filters, and names that are out to break
//! a page.

#![allow(dead_code, reason = "not every test needs every story")]

use wgconv::data;
use wgconv::report::run::{
    Answer, Answers, Curves, EpochFigures, Film, Health, LayerHealth, LayerLine, LayerPatches,
    MapConvolution, MapLayer, MapNumbers, MappedImage, Maps, Moment, Patch, Picture, Reason, Story,
};
use wgconv::tensor::ImageShape;

/// Names that would end an element, a string or a comment, or turn a line round.
pub const ODD_NAMES: [&str; 5] = [
    "</script><script>document.title='broken'</script>",
    "\"><img src=x onerror=\"document.title='broken'\">",
    "]]> & <!-- \u{202e}txt.exe \u{0} \n\u{2028}",
    "'`${document.title='broken'}`; \\u003c",
    "",
];

/// A stream of numbers from 0 to 1 that is the same everywhere.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// How large a story is.
#[derive(Clone)]
pub struct Sizes {
    pub classes: usize,
    /// Of an image.
    pub side: usize,
    pub channels: usize,
    /// For each convolution: side of its maps, number of its filters, side of a filter.
    pub layers: Vec<[usize; 3]>,
    pub epochs: usize,
    pub moments: usize,
    pub mapped: usize,
    /// How many of these have numbers.
    pub with_numbers: usize,
    pub answers: usize,
    pub steps: usize,
}

/// A lenet on digits.
pub fn lenet() -> Sizes {
    Sizes {
        classes: 10,
        side: 28,
        channels: 1,
        layers: vec![[28, 8, 5], [14, 16, 3]],
        epochs: 5,
        moments: 14,
        mapped: 10,
        with_numbers: 10,
        answers: 160,
        steps: 600,
    }
}

/// A residual network on small colour pictures.
pub fn resnet() -> Sizes {
    let mut layers = vec![[32, 16, 3]; 7];
    layers.extend([[16, 32, 3]; 6]);
    layers.extend([[8, 64, 3]; 6]);
    Sizes {
        classes: 10,
        side: 32,
        channels: 3,
        layers,
        epochs: 10,
        moments: 24,
        mapped: 10,
        with_numbers: 3,
        answers: 400,
        steps: 1000,
    }
}

/// A story of this size.
pub fn story(sizes: &Sizes) -> Story {
    let classes: Vec<String> = (0..sizes.classes).map(|class| class.to_string()).collect();
    let pictures = pictures(sizes);
    Story {
        network: "lenet".into(),
        is_under_way: false,
        result: "98.91 % of 10,000 test images are right after 5 of 5 epochs".into(),
        facts: [
            ["data", "mnist: 60,000 images for training, 10,000 to test"],
            ["device", "CPU, 8 threads"],
            ["batch size", "64"],
            ["optimizer", "adam, rate 0.001, cosine"],
            ["seed", "0"],
            ["time", "1 min 12 s"],
        ]
        .map(|fact| fact.map(String::from))
        .to_vec(),
        layers: lines(sizes),
        curves: curves(sizes),
        film: Some(film(sizes)),
        patches: patches(sizes, &pictures),
        maps: maps(sizes, &pictures),
        answers: Some(answers(sizes, &pictures)),
        health: health(sizes),
        advice: vec!["The test loss has been rising since epoch 4 while the training's falls: more epochs will not help.".into()],
        classes,
    }
}

/// A story in which every name is out to break the page.
pub fn odd() -> Story {
    let mut sizes = lenet();
    sizes.mapped = 3;
    let mut story = story(&sizes);
    let odd = |number: usize| ODD_NAMES[number % ODD_NAMES.len()].to_string();
    let long = format!("{}{}", ODD_NAMES[0], "x".repeat(70_000));
    story.network = odd(0);
    story.result = long.clone();
    story.classes = (0..10).map(odd).collect();
    story.classes[9] = long.clone();
    story.facts = (0..5).map(|number| [odd(number), long.clone()]).collect();
    story.advice = (0..5).map(odd).collect();
    story.is_under_way = true;
    for (number, layer) in story.layers.iter_mut().enumerate() {
        *layer =
            LayerLine { name: odd(number), kind: odd(1), output: odd(2), parameters: 7, arithmetic: odd(3) };
    }
    for (number, layer) in story.maps.layers.iter_mut().enumerate() {
        layer.name = odd(number);
        layer.followed_by = odd(number + 1);
    }
    for (number, image) in story.maps.images.iter_mut().enumerate() {
        image.name = odd(number);
    }
    let film = story.film.as_mut().unwrap();
    film.layer = odd(0);
    for (number, moment) in film.moments.iter_mut().enumerate() {
        moment.name = odd(number);
    }
    story.curves.held_out = odd(0);
    for (number, layer) in story.health.layers.iter_mut().enumerate() {
        layer.name = odd(number);
    }
    for (number, layer) in story.patches.iter_mut().enumerate() {
        layer.layer = odd(number);
    }
    story
}

/// A story whose parts do not fit each other, and whose numbers are none.
pub fn broken() -> Story {
    let mut story = story(&lenet());
    story.classes.truncate(3);
    for image in &mut story.maps.images {
        image.picture.pixels.pop();
        image.maps[0].clear();
        image.maps[1][0].pop();
        image.numbers.truncate(1);
        image.numbers[0].sums.pop();
        image.reasons[0].heat.fill(f32::NAN);
        image.reasons[0].gradient.fill(f32::INFINITY);
        image.top = vec![(77, f64::NAN)];
        image.class = Some(usize::MAX);
    }
    let film = story.film.as_mut().unwrap();
    film.moments[1].values.fill(f32::NAN);
    film.moments[2].values.pop();
    film.moments[3].gradient.fill(f32::NAN);
    for point in &mut story.curves.losses {
        point[1] = f64::NAN;
    }
    story.curves.epochs[0].loss = f64::INFINITY;
    story.curves.rates.clear();
    let answers = story.answers.as_mut().unwrap();
    answers.most_wrong = vec![usize::MAX, 1];
    answers.cells = vec![vec![usize::MAX]];
    for layer in &mut story.health.layers {
        layer.gradient.fill(f64::NAN);
        layer.update = vec![0.0];
        layer.inactive.clear();
        layer.mean[0] = f64::NEG_INFINITY;
    }
    story
}

fn pictures(sizes: &Sizes) -> Vec<(Picture, usize)> {
    let digits = data::synthetic(7, 400, 10).train;
    let own = digits.image;
    let side = sizes.side;
    (0..digits.len())
        .map(|row| {
            let class = digits.labels[row] as usize;
            let pixels = digits.image(row);
            let at = |y: usize, x: usize| pixels[(y * own.height / side) * own.width + x * own.width / side];
            let mut noise = Noise::new(row as u64 + 1);
            let tint: Vec<f32> = (0..sizes.channels).map(|_| 0.3 + 0.7 * noise.next()).collect();
            let colour = |value: u8, channel: usize| match sizes.channels {
                1 => value,
                _ => (f32::from(value) * tint[channel]) as u8,
            };
            let pixels = (0..side * side * sizes.channels)
                .map(|place| {
                    let (pixel, channel) = (place / sizes.channels, place % sizes.channels);
                    let grain = if sizes.channels == 1 { 0 } else { (40.0 * noise.next()) as u8 };
                    colour(at(pixel / side, pixel % side), channel).saturating_add(grain)
                })
                .collect();
            (Picture { size: [side, side], channels: sizes.channels, pixels }, class)
        })
        .collect()
}

fn lines(sizes: &Sizes) -> Vec<LayerLine> {
    let line = |name: String, kind: &str, output: String, parameters, arithmetic: String| LayerLine {
        name,
        kind: kind.into(),
        output,
        parameters,
        arithmetic,
    };
    let mut lines = vec![];
    let mut channels = sizes.channels;
    for (number, &[side, filters, kernel]) in sizes.layers.iter().enumerate() {
        let number = number + 1;
        let output = format!("{side} x {side} x {filters}");
        let arithmetic = format!("{kernel}*{kernel}*{channels}*{filters} + {filters}");
        let parameters = kernel * kernel * channels * filters + filters;
        lines.push(line(format!("conv{number}"), "conv2d", output.clone(), parameters, arithmetic));
        lines.push(line(format!("relu{number}"), "relu", output, 0, String::new()));
        channels = filters;
    }
    let last = channels * 49;
    lines.push(line("flatten1".into(), "flatten", last.to_string(), 0, String::new()));
    lines.push(line("dense1".into(), "dense", "10".into(), last * 10 + 10, format!("{last}*10 + 10")));
    lines
}

fn curves(sizes: &Sizes) -> Curves {
    let mut noise = Noise::new(3);
    let all = 938 * sizes.epochs;
    let step = |number: usize| (1 + number * (all - 1) / (sizes.steps.max(2) - 1)) as f64;
    let loss = |step: f64| 0.06 + 2.24 * (-step / 260.0).exp() + 0.25 * (-step / 1500.0).exp();
    let losses = (0..sizes.steps)
        .map(|number| [step(number), loss(step(number)) * f64::from(0.7 + 0.6 * noise.next())])
        .collect();
    let rates = (0..sizes.steps)
        .map(|number| {
            let share = step(number) / all as f64;
            [step(number), 0.0005 * (1.0 + (std::f64::consts::PI * share).cos())]
        })
        .collect();
    let epochs = (1..=sizes.epochs)
        .map(|epoch| {
            let step = 938 * epoch;
            let loss = loss(step as f64) * 0.8 + 0.004 * epoch as f64;
            EpochFigures {
                epoch,
                step: step as u64,
                train_loss: loss * 0.9,
                loss,
                accuracy: 1.0 - loss * 0.19,
                seconds: 14.2,
            }
        })
        .collect();
    Curves { losses, rates, epochs, held_out: "test".into() }
}

/// A smooth pattern of bars at some angle, `[side, side]`.
fn bars(side: usize, seed: u64) -> Vec<f32> {
    let mut noise = Noise::new(seed + 11);
    let angle = std::f32::consts::PI * noise.next();
    let [wave, phase] = [0.7 + 0.6 * noise.next(), 6.3 * noise.next()];
    let middle = (side as f32 - 1.0) / 2.0;
    (0..side * side)
        .map(|place| {
            let [y, x] = [place / side, place % side].map(|at| at as f32 - middle);
            let across = x * angle.cos() + y * angle.sin();
            (wave * across + phase).cos() * (-(x * x + y * y) / (side as f32 * 1.6)).exp()
        })
        .collect()
}

/// Filters `[filters, side, side, channels]` after this share of the training.
fn filters([filters, side, channels]: [usize; 3], share: f32, seed: u64) -> Vec<f32> {
    let mut noise = Noise::new(seed + 5);
    let mut values = vec![];
    for filter in 0..filters {
        let shape = bars(side, seed * 97 + filter as u64);
        let tint: Vec<f32> =
            (0..channels).map(|_| if channels == 1 { 1.0 } else { 2.0 * noise.next() - 1.0 }).collect();
        for value in shape {
            for tint in &tint {
                values.push((0.5 * noise.next() - 0.25) * (1.0 - 0.7 * share) + share * value * tint * 0.6);
            }
        }
    }
    values
}

fn film(sizes: &Sizes) -> Film {
    let [_, count, side] = sizes.layers[0];
    let shape = [count, side, sizes.channels];
    let steps = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500];
    let moments = (0..sizes.moments)
        .map(|number| {
            let share = number as f32 / (sizes.moments - 1) as f32;
            let (step, name) = match steps.get(number) {
                Some(0) => (0, "start".into()),
                Some(&step) => (step, format!("step {step}")),
                None => (938 * (number as u64 - 9), format!("epoch {}", number - 9)),
            };
            let values = filters(shape, share, 1);
            let mut noise = Noise::new(number as u64 + 40);
            let gradient = if number == 0 {
                vec![]
            } else {
                let target = filters(shape, 1.0, 1);
                let size = 0.05 * (1.05 - share);
                values
                    .iter()
                    .zip(&target)
                    .map(|(value, target)| size * (value - target + 0.2 * noise.next() - 0.1))
                    .collect()
            };
            Moment { step, name, values, gradient }
        })
        .collect();
    let size = ImageShape { height: side, width: side, channels: sizes.channels };
    Film { layer: "conv1".into(), filters: count, size: Some(size), moments }
}

fn patches(sizes: &Sizes, pictures: &[(Picture, usize)]) -> Vec<LayerPatches> {
    let mut noise = Noise::new(8);
    let layers = sizes.layers.iter().enumerate().skip(1);
    layers
        .map(|(number, &[_, of, _])| {
            let side = (7 + 4 * number).min(sizes.side);
            let filters = (0..of.min(16)).map(|filter| {
                let count = if filter == 5 { 0 } else { 9 };
                let patches = (0..count).map(|place| {
                    let (picture, class) =
                        &pictures[(noise.next() * pictures.len() as f32) as usize % pictures.len()];
                    let room = sizes.side - side;
                    let [top, left] = [0, 1].map(|_| ((noise.next() * 0.5 + 0.25) * room as f32) as usize);
                    let line = |y: usize| {
                        let at = ((top + y) * sizes.side + left) * sizes.channels;
                        picture.pixels[at..at + side * sizes.channels].to_vec()
                    };
                    let picture = Picture {
                        size: [side, side],
                        channels: sizes.channels,
                        pixels: (0..side).flat_map(line).collect(),
                    };
                    Patch { picture, value: 4.0 - 0.2 * place as f32, class: *class }
                });
                patches.collect()
            });
            LayerPatches {
                layer: format!("conv{}", number + 1),
                size: [side; 2],
                filters: filters.collect(),
                of,
            }
        })
        .collect()
}

/// The convolution of an image `[side, side, channels]`, with as many zeros around it as keep its size, at every `step`-th
/// place.
fn convolve(
    input: &[f32],
    [side, channels]: [usize; 2],
    weights: &[f32],
    [to, count, kernel]: [usize; 3],
) -> Vec<f32> {
    let (step, padding) = (side / to, (kernel - 1) / 2);
    let mut sums = vec![];
    for place in 0..to * to {
        for filter in 0..count {
            let mut sum = 0.0;
            for (tap, weights) in weights[filter * kernel * kernel * channels..]
                .chunks(channels)
                .take(kernel * kernel)
                .enumerate()
            {
                let y = (place / to * step + tap / kernel).wrapping_sub(padding);
                let x = (place % to * step + tap % kernel).wrapping_sub(padding);
                if y < side && x < side {
                    let values = &input[(y * side + x) * channels..][..channels];
                    sum += values.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f32>();
                }
            }
            sums.push(sum);
        }
    }
    sums
}

fn maps(sizes: &Sizes, pictures: &[(Picture, usize)]) -> Maps {
    let top_of_range = 3.0;
    let reads = |layer: usize| match layer {
        0 => [sizes.side, sizes.channels],
        _ => [sizes.layers[layer - 1][0], sizes.layers[layer - 1][1]],
    };
    let weights = |layer: usize, share: f32| {
        let [_, count, kernel] = sizes.layers[layer];
        let mut weights = filters([count, kernel, reads(layer)[1]], share, layer as u64 + 1);
        let shrink = if layer == 0 { 1.0 } else { (reads(layer)[1] as f32).sqrt().recip() };
        weights.iter_mut().for_each(|weight| *weight *= shrink);
        weights
    };
    let layers = sizes.layers.iter().enumerate().map(|(layer, &[side, count, kernel])| {
        let [from, channels] = reads(layer);
        MapLayer {
            name: format!("conv{}", layer + 1),
            followed_by: format!("relu{}", layer + 1),
            size: Some(ImageShape { height: side, width: side, channels: count }),
            count,
            range: [0.0, top_of_range],
            convolution: Some(MapConvolution {
                filters: weights(layer, 1.0),
                kernel: [kernel; 2],
                group_channels: channels,
                groups: 1,
                bias: (0..count).map(|filter| 0.01 * filter as f32 - 0.03).collect(),
                stride: [from / side; 2],
                padding: [(kernel - 1) / 2; 2],
                dilation: [1; 2],
                input: Some(ImageShape { height: from, width: from, channels }),
            }),
        }
    });
    let epochs: Vec<usize> = (0..=sizes.epochs).collect();
    let of_class = |number: usize| {
        let class = number % sizes.classes.min(10);
        pictures.iter().filter(move |(_, of)| *of == class).nth(number / 10).expect("an image of each class")
    };
    let images = (0..sizes.mapped).map(|number| {
        let (picture, class) = of_class(number);
        let mut numbers = vec![];
        let mut all = vec![];
        for &epoch in &epochs {
            let share = epoch as f32 / sizes.epochs as f32;
            let mut input: Vec<f32> = picture.pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
            let mut maps = vec![];
            for (layer, &sizes_of) in sizes.layers.iter().enumerate() {
                let [side, count, _] = sizes_of;
                let sums = convolve(&input, reads(layer), &weights(layer, share), sizes_of);
                let bias = |place: usize| 0.01 * (place % count) as f32 - 0.03;
                let output: Vec<f32> =
                    sums.iter().enumerate().map(|(place, sum)| (sum + bias(place)).max(0.0)).collect();
                let shade = |map: usize, place: usize| {
                    (output[place * count + map] / top_of_range * 255.0).min(255.0) as u8
                };
                maps.push(
                    (0..count)
                        .flat_map(|map| (0..side * side).map(move |place| (map, place)))
                        .map(|(map, place)| shade(map, place))
                        .collect(),
                );
                if epoch == sizes.epochs && number < sizes.with_numbers {
                    numbers.push(MapNumbers { input, sums, output: output.clone() });
                }
                input = output;
            }
            all.push(maps);
        }
        let taken = if number == 4 { 9 } else { *class };
        let reason = |class: usize| reason(sizes, picture, class);
        let mut reasons = vec![reason(taken)];
        if taken != *class {
            reasons.push(reason(*class));
        }
        MappedImage {
            name: format!("test image {}", 17 * number + 3),
            picture: picture.clone(),
            class: (number != 6).then_some(*class),
            top: vec![(taken, 0.931), ((taken + 5) % 10, 0.042), ((taken + 2) % 10, 0.011)],
            maps: all,
            numbers,
            reasons,
        }
    });
    Maps { layers: layers.collect(), images: images.collect(), epochs }
}

fn reason(sizes: &Sizes, picture: &Picture, class: usize) -> Reason {
    let heat_size = [7, 7];
    let mut noise = Noise::new(class as u64 + 70);
    let [y, x] = [0, 1].map(|_| 1.5 + 4.0 * noise.next());
    let heat = (0..49)
        .map(|place| {
            let [down, across] = [place / 7, place % 7].map(|at| at as f32);
            (-((down - y).powi(2) + (across - x).powi(2)) / 3.0).exp()
        })
        .collect();
    let gradient = picture
        .pixels
        .chunks(sizes.channels)
        .map(|pixel| (noise.next() - 0.45) * (0.2 + f32::from(pixel[0]) / 255.0))
        .collect();
    Reason { class, heat, heat_size, gradient }
}

/// Classes and their probabilities, the most probable first.
fn top(class: usize, taken: usize, share: f64, classes: usize) -> Vec<(usize, f64)> {
    let second = if class == taken { (taken + 3) % classes } else { class };
    let third = (second + 1..).map(|other| other % classes).find(|&other| other != taken && other != second);
    let rest = 1.0 - share;
    vec![(taken, share), (second, rest * 0.8), (third.unwrap_or(0), rest * 0.1)]
}

fn answers(sizes: &Sizes, pictures: &[(Picture, usize)]) -> Answers {
    let classes = sizes.classes;
    let mut noise = Noise::new(21);
    let counts: Vec<u64> = (0..classes * classes)
        .map(|cell| match (cell / classes, cell % classes) {
            (row, column) if row == column => 950 + (noise.next() * 60.0) as u64,
            _ => (noise.next().powi(6) * 24.0) as u64,
        })
        .collect();
    let mut images = vec![];
    let mut cells = vec![vec![]; classes * classes];
    for cell in (0..classes * classes).filter(|&cell| counts[cell] > 0) {
        let (class, taken) = (cell / classes, cell % classes);
        for _ in 0..counts[cell].min(4) {
            if images.len() == sizes.answers {
                break;
            }
            let of: Vec<&(Picture, usize)> = pictures.iter().filter(|(_, of)| *of == class % 10).collect();
            let share = 0.5 + 0.49 * f64::from(noise.next());
            cells[cell].push(images.len());
            images.push(Answer {
                row: (noise.next() * 9999.0) as usize,
                picture: of[images.len() % of.len()].0.clone(),
                class,
                top: top(class, taken, share, classes),
            });
        }
    }
    let mut wrong: Vec<usize> =
        (0..images.len()).filter(|&place| images[place].top[0].0 != images[place].class).collect();
    wrong.sort_by(|&a, &b| images[b].top[0].1.total_cmp(&images[a].top[0].1));
    let mut uncertain: Vec<usize> = (0..images.len()).collect();
    uncertain.sort_by(|&a, &b| images[a].top[0].1.total_cmp(&images[b].top[0].1));
    let figures = (0..classes).map(|class| {
        let right = counts[class * classes + class] as f64;
        let row: u64 = counts[class * classes..][..classes].iter().sum();
        let column: u64 = counts.iter().skip(class).step_by(classes).sum();
        (Some(right / column as f64), Some(right / row as f64), row)
    });
    Answers {
        figures: figures.collect(),
        most_wrong: wrong.into_iter().take(12).collect(),
        least_certain: uncertain.into_iter().take(12).collect(),
        counts,
        images,
        cells,
    }
}

fn health(sizes: &Sizes) -> Health {
    let mut noise = Noise::new(31);
    let layers = sizes.layers.iter().enumerate().map(|(number, _)| {
        let mut series = |start: f64, fall: f64| -> Vec<f64> {
            (0..sizes.epochs)
                .map(|epoch| start * fall.powi(epoch as i32) * f64::from(0.85 + 0.3 * noise.next()))
                .collect()
        };
        LayerHealth {
            name: format!("conv{}", number + 1),
            gradient: series(0.8, 0.6),
            update: series(0.004, 0.7),
            inactive: series(0.05, 1.1),
            mean: series(0.31, 1.02),
            deviation: series(0.52, 1.05),
            dead: if number == 1 { vec![5] } else { vec![] },
        }
    });
    Health { epochs: (1..=sizes.epochs).collect(), layers: layers.collect() }
}
