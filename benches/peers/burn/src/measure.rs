//! Random tensors, Burn's operations on them, and the clock.

use std::time::{Duration, Instant};

use burn_backend::ops::{ConvOptions, FloatTensorOps, ModuleOps};
use burn_backend::{
    Backend, BackendTypes, DType, Distribution, FloatDType, Shape, TensorMetadata, read_sync,
};
use burn_wgpu::graphics::AutoGraphicsApi;
use burn_wgpu::{RuntimeOptions, Wgpu, WgpuDevice, WgpuSetup, try_init_setup, wgpu};
use serde_json::{Value, json};

use crate::{Case, Options, Pass};

type Tensor = <Wgpu as BackendTypes>::FloatTensorPrimitive;
type Device = <Wgpu as BackendTypes>::Device;

/// Fewer samples than this have no quartiles worth printing.
const FEWEST_SAMPLES: usize = 5;

/// Copies of the inputs, and runs of a sample, at most.
const MOST_RUNS: usize = 1000;

/// Times one pass of one case.
pub fn row(case: &Case, options: &Options) -> Value {
    let selected = WgpuDevice::new(options.device.0.clone());
    let setup = RuntimeOptions::try_default()
        .and_then(|runtime| try_init_setup::<AutoGraphicsApi>(&selected, runtime))
        .unwrap_or_else(|error| panic!("no device: {error}"));
    let mut work = Work::new(case, options, &setup, selected.into());

    let start = Instant::now();
    let answer = work.run();
    work.wait();
    let first_call = start.elapsed();
    work.check(answer);

    let [median, quartiles @ ..] = time(Duration::from_secs_f64(options.budget), |times| {
        for _ in 0..times {
            work.run();
        }
        work.wait();
    });
    let info = setup.adapter.get_info();
    json!({
        "program": "burn",
        "version": version(),
        "adapter": info.name,
        "backend": info.backend.to_string(),
        "compiler": Wgpu::name(&work.device),
        "driver": format!("{} {}", info.driver, info.driver_info).trim(),
        "case": case.to_json(),
        "pass": options.pass.name(),
        "dtype": "f32",
        "channels_last": options.channels_last,
        "warm_cache": options.warm_cache,
        "input_copies": work.inputs.len(),
        "ms": median,
        "ms_quartiles": quartiles,
        "gflops": case.flops() / median / 1e6,
        "first_call_s": first_call.as_secs_f64(),
    })
}

/// The version of Burn that this is built with.
fn version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split("name = \"burn-wgpu\"\nversion = \"").nth(1);
    entry.and_then(|rest| rest.split('"').next()).unwrap_or("unknown")
}

/// A pass of a convolution, ready to run.
struct Work {
    device: Device,
    pass: Pass,
    options: ConvOptions<2>,
    // The tensors that the pass reads, a copy after the other.
    inputs: Vec<[Tensor; 2]>,
    // The tensor whose shape alone the gradients ask for.
    shape_of: Tensor,
    expected: [usize; 4],
    next: usize,
}

impl Work {
    fn new(case: &Case, options: &Options, setup: &WgpuSetup, device: Device) -> Work {
        let random = |[batch, channels, height, width]: [usize; 4]| {
            let uniform = Distribution::Uniform(-1.0, 1.0);
            let make =
                |sizes: [usize; 4]| Wgpu::float_random(Shape::from(sizes), uniform, &device, FloatDType::F32);
            match options.channels_last {
                true => Wgpu::float_permute(make([batch, height, width, channels]), &[0, 3, 1, 2]),
                false => make([batch, channels, height, width]),
            }
        };
        let [rows, columns] = case.output();
        let input = [case.batch, case.in_channels, case.input[0], case.input[1]];
        let filters = [case.out_channels, case.in_channels / case.groups, case.kernel[0], case.kernel[1]];
        let output = [case.batch, case.out_channels, rows, columns];
        let (read, expected) = match options.pass {
            Pass::Forward => ([input, filters], output),
            Pass::GradFilters => ([input, output], filters),
            Pass::GradInput => ([filters, output], input),
            Pass::All => unreachable!("a row is of one pass"),
        };
        let software = setup.adapter.get_info().device_type == wgpu::DeviceType::Cpu;
        // More than a last cache holds; as `wgconv bench` counts.
        let cache_bytes: usize =
            if options.warm_cache { 0 } else { (if software { 128 } else { 256 }) << 20 };
        let bytes: usize = read.iter().map(|sizes| 4 * sizes.iter().product::<usize>()).sum();
        let copies = (cache_bytes / bytes + 1).min(MOST_RUNS);
        let work = Work {
            pass: options.pass,
            options: ConvOptions::new(case.stride, case.padding, case.dilation, case.groups),
            inputs: (0..copies).map(|_| read.map(random)).collect(),
            shape_of: random(expected),
            expected,
            next: 0,
            device: device.clone(),
        };
        work.wait();
        work
    }

    /// Queues one run.
    fn run(&mut self) -> Tensor {
        let [first, second] = self.inputs[self.next].clone();
        self.next = (self.next + 1) % self.inputs.len();
        let (shape_of, options) = (self.shape_of.clone(), self.options.clone());
        match self.pass {
            Pass::Forward => Wgpu::conv2d(first, second, None, options),
            Pass::GradFilters => Wgpu::conv2d_weight_backward(first, shape_of, second, options),
            Pass::GradInput => Wgpu::conv2d_x_backward(shape_of, first, second, options),
            Pass::All => unreachable!("a row is of one pass"),
        }
    }

    fn wait(&self) {
        Wgpu::sync(&self.device).unwrap_or_else(|error| panic!("the device failed: {error}"));
    }

    /// Panics unless `answer` has the right shape and was computed: a launch that failed shows only when its result
    /// is read.
    fn check(&self, answer: Tensor) {
        assert_eq!(answer.shape(), Shape::from(self.expected), "sizes of the answer");
        assert_eq!(answer.dtype(), DType::F32);
        let data =
            read_sync(Wgpu::float_into_data(answer)).unwrap_or_else(|error| panic!("no answer: {error}"));
        let values: Vec<f32> = data.try_to_vec().expect("an answer of f32");
        assert!(values.iter().all(|value| value.is_finite()), "an answer that is not finite");
        assert!(values.iter().any(|&value| value != 0.0), "an answer of zeros");
    }
}

/// The median and the quartiles of one run's milliseconds. As in `wgconv bench`, a sample is the mean of many runs
/// with one wait at their end, 20 ms or more where the budget allows.
fn time(budget: Duration, mut run: impl FnMut(usize)) -> [f64; 3] {
    let mut clocked = |times: usize| {
        let start = Instant::now();
        run(times);
        start.elapsed()
    };
    clocked(1);
    let once = clocked(1).max(Duration::from_nanos(1));
    let sample = Duration::from_millis(20).min(budget / FEWEST_SAMPLES as u32);
    let times = ((sample.as_secs_f64() / once.as_secs_f64()) as usize).clamp(1, MOST_RUNS);
    let (mut samples, mut spent) = (Vec::new(), Duration::ZERO);
    while samples.len() < FEWEST_SAMPLES || spent < budget {
        let elapsed = clocked(times);
        spent += elapsed;
        samples.push(elapsed.as_secs_f64() * 1e3 / times as f64);
    }
    samples.sort_by(f64::total_cmp);
    [0.5, 0.25, 0.75].map(|part| {
        let position = part * (samples.len() - 1) as f64;
        let (below, above) = (samples[position.floor() as usize], samples[position.ceil() as usize]);
        below + (above - below) * position.fract()
    })
}
