//! Launches, and splitting long work into several submissions: some drivers reset a device when one takes two
//! seconds.

use std::collections::VecDeque;
use std::ops::Range;

use super::context::Context;
use super::pipeline::Pipelines;
use super::timestamps::Timestamps;
use crate::Result;
use crate::device::{DeviceKind, DeviceProfile};
use crate::ops::Op;
use crate::ops::kernel::{Binding, Implementation};

/// A kernel launch, ready to be submitted.
#[derive(Debug)]
pub struct Dispatch {
    pub pipeline: wgpu::ComputePipeline,
    pub bind_group: wgpu::BindGroup,
    pub workgroups: [u32; 3],
    /// Upper estimate of its duration, in seconds.
    pub seconds: f64,
}

/// Longest estimated duration of one submission in seconds, unless a single launch takes longer.
const LONGEST: f64 = 0.5;

/// Most launches in one submission: the driver can start on them while the host encodes the next.
const MOST_LAUNCHES: usize = 4096;

/// Most launches in the first submission, so that an idle device starts soon. Each may hold twice as many as the one before:
/// a device is busy with those for longer than the host needs for the next, if a launch takes twice as long as encoding one.
const FIRST_LAUNCHES: usize = 64;

/// Most submissions under way at once; the host waits for the oldest before it sends another.
const MOST_UNDER_WAY: usize = 32;

/// FLOP/s of a simple kernel on one multiprocessor: a fiftieth of the peak of the slower ones.
const FLOPS_OF_A_MULTIPROCESSOR: f64 = 5e9;

/// Upper estimate of the duration of a run of `op` in seconds: that of a simple kernel on a slow device of this kind.
pub fn longest_time(device: &DeviceProfile, op: &dyn Op) -> f64 {
    longest_time_of(device, op.flops(), op.bytes())
}

/// As [`longest_time`], of so many FLOPs on so many bytes.
pub fn longest_time_of(device: &DeviceProfile, flops: u64, bytes: u64) -> f64 {
    const LAUNCH: f64 = 10e-6;
    let (flops_per_s, bytes_per_s) = match device.kind {
        DeviceKind::Software => (1e9, 1e9),
        DeviceKind::IntegratedGpu | DeviceKind::VirtualGpu | DeviceKind::Other => (20e9, 5e9),
        DeviceKind::DiscreteGpu => {
            let multiprocessors = f64::from(device.multiprocessors.unwrap_or(0));
            (f64::max(200e9, multiprocessors * FLOPS_OF_A_MULTIPROCESSOR), 20e9)
        }
    };
    LAUNCH + flops as f64 / flops_per_s + bytes as f64 / bytes_per_s
}

/// `implementation` of `op` with its launches cut into pieces of at most [`LONGEST`] by estimate, if the kernels
/// allow it. On a software rasteriser nothing is cut: no driver resets a CPU.
pub fn in_pieces(device: &DeviceProfile, op: &dyn Op, implementation: Implementation) -> Implementation {
    let pieces = (longest_time(device, op) / LONGEST).ceil() as usize;
    if pieces <= 1 || device.kind == DeviceKind::Software {
        return implementation;
    }
    let calls = implementation.calls.into_iter().flat_map(|call| call.in_pieces(pieces)).collect();
    // The calls have other numbers now.
    Implementation { calls, slice_sums: Vec::new(), ..implementation }
}

/// Cuts `times` repetitions of launches that take `seconds` each into submissions: ranges of launches, counted
/// over all repetitions, that hold one launch or take at most [`LONGEST`]; the first of at most `first_launches`, and each of at
/// most twice as many as the one before.
fn split(seconds: &[f64], times: usize, first_launches: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut first, mut sum) = (0, 0.0);
    let mut most = first_launches;
    for (number, &next) in std::iter::repeat_n(seconds, times).flatten().enumerate() {
        let is_full = sum + next > LONGEST || number - first == most;
        if is_full && number > first {
            parts.push(first..number);
            (first, sum) = (number, 0.0);
            most = MOST_LAUNCHES.min(2 * most);
        }
        sum += next;
    }
    let end = seconds.len() * times;
    if first < end {
        parts.push(first..end);
    }
    parts
}

impl Context {
    /// The launches of an implementation whose kernels are compiled, on the buffers in `bound`: `seconds` is an upper estimate
    /// of the duration of all.
    pub fn dispatches<'a>(
        &self,
        seconds: f64,
        implementation: &Implementation,
        pipelines: &Pipelines,
        bound: impl Fn(Binding) -> wgpu::BufferBinding<'a>,
    ) -> Vec<Dispatch> {
        let seconds = seconds / implementation.calls.len() as f64;
        let dispatch = |call| {
            let pipeline = pipelines.get(call).clone();
            let entries: Vec<wgpu::BindGroupEntry> = (0..)
                .zip(&call.bindings)
                .map(|(binding, &source)| {
                    let resource = wgpu::BindingResource::Buffer(bound(source));
                    wgpu::BindGroupEntry { binding, resource }
                })
                .collect();
            let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(call.source.name),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            Dispatch { pipeline, bind_group, workgroups: call.workgroups, seconds }
        };
        implementation.calls.iter().map(dispatch).collect()
    }

    /// Submits `dispatches`, `times` times over. The first submission records a timestamp when it begins, and the
    /// last when it ends.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed, now or earlier.
    pub fn submit(
        &self,
        dispatches: &[Dispatch],
        times: usize,
        timestamps: Option<&Timestamps>,
    ) -> Result<()> {
        let seconds: Vec<f64> = dispatches.iter().map(|dispatch| dispatch.seconds).collect();
        // What is measured is to have no gaps.
        let first_launches = if timestamps.is_some() { MOST_LAUNCHES } else { FIRST_LAUNCHES };
        let parts = split(&seconds, times, first_launches);
        let mut under_way = VecDeque::new();
        for (number, part) in parts.iter().enumerate() {
            if under_way.len() == MOST_UNDER_WAY {
                let wait = wgpu::PollType::Wait { submission_index: under_way.pop_front(), timeout: None };
                self.device.poll(wait).map_err(|error| self.failed("running a plan", error))?;
            }
            let is_last = number + 1 == parts.len();
            let timestamp_writes = timestamps.and_then(|timestamps| timestamps.writes(number == 0, is_last));
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let mut pass =
                encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
            for launch in part.clone() {
                let Dispatch { pipeline, bind_group, workgroups: [x, y, z], .. } =
                    &dispatches[launch % dispatches.len()];
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, bind_group, &[]);
                pass.dispatch_workgroups(*x, *y, *z);
            }
            drop(pass);
            if let Some(timestamps) = timestamps.filter(|_| is_last) {
                timestamps.resolve(&mut encoder);
            }
            under_way.push_back(self.queue.submit([encoder.finish()]));
        }
        self.check_fault("running a plan")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::conv::{ConvForward, ConvGeometry};
    use crate::ops::kernel::{MAX_WORKGROUPS_PER_AXIS, WORKGROUP_SIZE};
    use crate::ops::window::WindowOptions;
    use crate::tensor::ImageShape;

    /// Checks the invariants of every split, and returns the number of parts.
    fn parts(seconds: &[f64], times: usize) -> usize {
        let parts = split(seconds, times, FIRST_LAUNCHES);
        let (mut end, mut most) = (0, FIRST_LAUNCHES);
        for part in &parts {
            assert_eq!(part.start, end, "{parts:?}");
            assert!(!part.is_empty() && part.len() <= most, "{parts:?}");
            most = MOST_LAUNCHES.min(2 * most);
            let sum: f64 = part.clone().map(|launch| seconds[launch % seconds.len()]).sum();
            assert!(part.len() == 1 || sum <= LONGEST, "{parts:?}");
            end = part.end;
        }
        assert_eq!(end, seconds.len() * times);
        parts.len()
    }

    #[test]
    fn long_work_is_cut_and_short_work_stays_together() {
        assert_eq!(parts(&[], 5), 0);
        assert_eq!(parts(&[0.1], 0), 0);
        assert_eq!(parts(&[0.01, 0.02, 0.03], 8), 1);
        // Either five or four launches of a tenth of a second fit into half a second, depending on how their sum is
        // rounded.
        assert!((20..=25).contains(&parts(&[0.1], 100)));
        assert_eq!(parts(&[9.0], 3), 3, "a launch that is too long goes alone");
        assert_eq!(parts(&[0.2, 9.0, 0.2], 2), 5);
    }

    #[test]
    fn submissions_grow_to_their_largest() {
        assert_eq!(split(&[0.0], MOST_LAUNCHES, MOST_LAUNCHES).len(), 1);
        assert_eq!(parts(&[0.0], FIRST_LAUNCHES), 1);
        assert_eq!(parts(&[0.0], FIRST_LAUNCHES + 1), 2);
        // 64, 128, .., 2048, of together 4096 - 64, and two of 4096.
        assert_eq!(parts(&[0.0], 3 * MOST_LAUNCHES - FIRST_LAUNCHES), 8);
        assert_eq!(parts(&[0.0, 0.0, 0.0], MOST_LAUNCHES), 9);
    }

    #[test]
    fn a_launch_that_would_take_seconds_is_cut_on_a_gpu() {
        let image = ImageShape { height: 224, width: 224, channels: 512 };
        let window = WindowOptions::new([3, 3]);
        let op = ConvForward::new(ConvGeometry::new(16, image, 512, 1, &window).unwrap());
        let launches = |kind| {
            let device = DeviceProfile { kind, max_binding_bytes: 4 << 30, ..DeviceProfile::portable() };
            let direct = op.implementations(&device).pop().expect("every operation has a direct kernel");
            let whole = direct.calls.len();
            (whole, in_pieces(&device, &op, direct).calls.len())
        };
        let wanted = 2.0 * 16.0 * 222.0 * 222.0 * 512.0 * 512.0 * 9.0 / 200e9 / LONGEST;
        // A piece holds no more workgroups than one axis of a dispatch allows.
        let workgroups = 16.0 * 222.0 * 222.0 * 512.0 / f64::from(WORKGROUP_SIZE);
        let most = f64::max(2.0 * wanted, 1.0 + workgroups / f64::from(MAX_WORKGROUPS_PER_AXIS));
        let (whole, cut) = launches(DeviceKind::DiscreteGpu);
        assert_eq!(whole, 1);
        assert!((cut as f64) >= wanted && (cut as f64) <= most, "{cut}");
        assert_eq!(launches(DeviceKind::Software), (1, 1));
    }

    #[test]
    fn a_slower_kind_of_device_is_given_more_time() {
        let image = ImageShape { height: 56, width: 56, channels: 64 };
        let window = WindowOptions::new([3, 3]);
        let op = ConvForward::new(ConvGeometry::new(16, image, 64, 1, &window).unwrap());
        let time = |kind| longest_time(&DeviceProfile { kind, ..DeviceProfile::portable() }, &op);
        assert!(time(DeviceKind::Software) > time(DeviceKind::IntegratedGpu));
        assert!(time(DeviceKind::IntegratedGpu) > time(DeviceKind::DiscreteGpu));
        assert!(time(DeviceKind::DiscreteGpu) < LONGEST);
        let large = DeviceProfile {
            kind: DeviceKind::DiscreteGpu,
            multiprocessors: Some(132),
            ..DeviceProfile::portable()
        };
        assert!(longest_time(&large, &op) < time(DeviceKind::DiscreteGpu));
    }
}
