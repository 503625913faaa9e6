//! Convolutions at stride 1 by kernels that stage patches of the image in workgroup memory: each value is read from there
//! once for a whole column of taps. They suit tens of channels, with which a matrix product leaves much of its tiles idle
//! and gathers every value once for each tap.

use super::FusedPass;
use crate::device::{DeviceKind, DeviceProfile};
use crate::ops::conv::{ConvGeometry, OPERANDS};
use crate::ops::cost::{Cost, CostClass, LAUNCH, multiprocessors, travel};
use crate::ops::kernel::{Binding, Implementation, KernelCall, shader};

/// The largest number of channels on either side: with more, the tiles of a matrix product are full.
const MOST_CHANNELS: usize = 128;

/// The largest number of taps along an axis: a column of them is unrolled.
const MOST_TAPS: usize = 7;

/// The largest number of columns of a workgroup: the invocations of most GPUs that run together.
const MOST_COLUMNS: usize = 32;

/// Numbers of rows that an invocation may own.
const ROWS: [(&str, usize); 2] = [("staged_4", 4), ("staged_8", 8)];

/// The largest number of fours of channels that an invocation owns.
const MOST_QUADS: usize = 2;

/// The largest number of invocations of a workgroup.
const MOST_INVOCATIONS: usize = 256;

/// Workgroup memory of a workgroup: with more, too few would share a multiprocessor.
const MOST_BYTES: usize = 24 << 10;

/// Number of invocations on a multiprocessor that hide each other's latency.
const ENOUGH_INVOCATIONS: f64 = 512.0;

/// Expected share of the peak multiply-add rate; reads from workgroup memory take the rest.
const EFFICIENCY: f64 = 0.6;

/// Multiply-adds that an invocation could do while it copies four values to workgroup memory.
const COPY: usize = 48;

/// The sizes of the two tensors of channels: the one that is read and the one that is written.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    source_quads: usize,
    result_quads: usize,
    height: usize,
    width: usize,
    taps: [usize; 2],
    images: usize,
}

impl Sizes {
    /// `None` if the kernels do not suit the convolution.
    fn of(geometry: &ConvGeometry, pass: &FusedPass) -> Option<Self> {
        let ConvGeometry { height, width, in_channels, out_channels, .. } = *geometry;
        let axis_suits = [height, width]
            .iter()
            .all(|axis| axis.stride == 1 && axis.dilation == 1 && axis.kernel <= MOST_TAPS);
        let channels_suit = [in_channels, out_channels]
            .iter()
            .all(|channels| channels.is_multiple_of(4) && *channels <= MOST_CHANNELS);
        if geometry.groups > 1 || !axis_suits || !channels_suit || height.kernel * width.kernel == 1 {
            return None;
        }
        let (source, result, [rows, columns]) = match pass {
            FusedPass::Forward(_) => (in_channels, out_channels, [height.output, width.output]),
            FusedPass::GradInput { .. } => (out_channels, in_channels, [height.input, width.input]),
            FusedPass::GradFilters { .. } => return None,
        };
        Some(Sizes {
            source_quads: source / 4,
            result_quads: result / 4,
            height: rows,
            width: columns,
            taps: [height.kernel, width.kernel],
            images: geometry.batch_size,
        })
    }
}

/// What a workgroup owns.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Block {
    rows: usize,
    quads: usize,
    columns: usize,
    row_lanes: usize,
    lanes: usize,
    staged_quads: usize,
}

impl Block {
    fn invocations(&self) -> usize {
        self.columns * self.row_lanes * self.lanes
    }

    /// Fours of values of the source and of weights that are staged at a time.
    fn staged(&self, sizes: &Sizes) -> [usize; 2] {
        let [tap_rows, tap_columns] = sizes.taps;
        let positions = (self.row_lanes * self.rows + tap_rows - 1) * (self.columns + tap_columns - 1);
        let weights = tap_rows * tap_columns * 4 * self.staged_quads * self.lanes * self.quads;
        [self.staged_quads * (positions | 1), weights]
    }

    fn workgroups(&self, sizes: &Sizes) -> usize {
        sizes.images
            * sizes.height.div_ceil(self.row_lanes * self.rows)
            * sizes.width.div_ceil(self.columns)
            * sizes.result_quads.div_ceil(self.lanes * self.quads)
    }

    /// Iterations of an invocation's loops.
    fn trips(&self, sizes: &Sizes) -> usize {
        let [tap_rows, tap_columns] = sizes.taps;
        let staging: usize = self.staged(sizes).iter().map(|fours| 1 + fours / self.invocations()).sum();
        let column = self.rows + tap_rows - 1 + tap_rows * (1 + self.quads * (1 + self.rows));
        let round = staging + self.staged_quads * (1 + tap_columns * (1 + column));
        sizes.source_quads / self.staged_quads * (1 + round)
    }

    /// Expected time, in multiply-adds of one multiprocessor.
    fn cost(&self, sizes: &Sizes, device: &DeviceProfile) -> f64 {
        let [tap_rows, tap_columns] = sizes.taps;
        let rounds = self.workgroups(sizes).div_ceil(multiprocessors(device));
        let products =
            16 * tap_rows * tap_columns * sizes.source_quads * self.rows * self.quads * self.invocations();
        let staged: usize = self.staged(sizes).iter().sum();
        let copies = COPY * staged * (sizes.source_quads / self.staged_quads);
        let busy = f64::min(1.0, (rounds * self.invocations()) as f64 / ENOUGH_INVOCATIONS);
        (rounds * (products + copies)) as f64 / (EFFICIENCY * busy)
    }

    /// The cheapest block whose invocations own this many rows; `None` if none fits the device.
    fn best(rows: usize, sizes: &Sizes, device: &DeviceProfile) -> Option<Self> {
        let columns = sizes.width.div_ceil(sizes.width.div_ceil(MOST_COLUMNS));
        let quads = sizes.result_quads.min(MOST_QUADS);
        let most_invocations = MOST_INVOCATIONS.min(device.max_workgroup_invocations as usize);
        let most_fours = MOST_BYTES.min(device.max_workgroup_bytes as usize) / 16;
        let row_lanes =
            (0..4).map(|doublings| 1 << doublings).filter(|lanes| (lanes - 1) * rows < sizes.height);
        let blocks = row_lanes.flat_map(|row_lanes| {
            let lanes = (0..6).map(|doublings| 1 << doublings);
            lanes.filter(|lanes| (lanes - 1) * quads < sizes.result_quads).filter_map(move |lanes| {
                let block = Block { rows, quads, columns, row_lanes, lanes, staged_quads: 1 };
                let divisors =
                    (1..=sizes.source_quads).rev().filter(|quads| sizes.source_quads.is_multiple_of(*quads));
                let mut staged = divisors.map(|staged_quads| Block { staged_quads, ..block });
                staged.find(|block| block.staged(sizes).iter().sum::<usize>() <= most_fours)
            })
        });
        blocks
            .filter(|block| {
                block.invocations() <= most_invocations && block.trips(sizes) <= device.loop_trips()
            })
            .min_by(|a, b| a.cost(sizes, device).total_cmp(&b.cost(sizes, device)))
    }
}

/// The ways to do a pass; none where the convolution strides, has holes in its windows, or many channels.
pub fn implementations(
    geometry: &ConvGeometry,
    pass: FusedPass,
    device: &DeviceProfile,
) -> Vec<Implementation> {
    let Some(sizes) = Sizes::of(geometry, &pass) else { return Vec::new() };
    let tensors = [geometry.input_shape(), geometry.filters_shape(), geometry.output_shape()];
    let travel = travel(tensors.iter().map(|shape| shape.elements()).sum(), device);
    let mut ways: Vec<Implementation> = ROWS
        .into_iter()
        .filter_map(|(name, rows)| {
            let block = Block::best(rows, &sizes, device)?;
            let time = block.cost(&sizes, device).max(travel) + LAUNCH;
            let way = Implementation::of(name, block.call(geometry, &sizes, &pass));
            Some(way.at(Cost { class: CostClass::RunnerUp, time }))
        })
        .collect();
    ways.sort_by(|a, b| a.cost.time.total_cmp(&b.cost.time));
    if device.kind == DeviceKind::Software {
        // A rasteriser has no use for them: its caches are workgroup memory already.
        ways.iter_mut().for_each(|way| way.cost.class = CostClass::Reserve);
    } else if let Some(best) = ways.first_mut() {
        best.cost.class = CostClass::BestOfKind;
    }
    ways
}

impl Block {
    fn call(&self, geometry: &ConvGeometry, sizes: &Sizes, pass: &FusedPass) -> KernelCall {
        let mut source = shader!("conv/staged/correlation.wgsl");
        source.files.extend(match pass {
            FusedPass::Forward(_) => shader!("conv/staged/forward.wgsl", "epilogue/quads.wgsl").files,
            _ => shader!("conv/staged/grad_input.wgsl").files,
        });
        source.files.extend(shader!("conv/geometry.wgsl", "grid.wgsl").files);
        let source = source.with_sizes(&[
            ("ROWS", self.rows as u32),
            ("QUADS", self.quads as u32),
            ("COLUMNS", self.columns as u32),
            ("ROW_LANES", self.row_lanes as u32),
            ("LANES", self.lanes as u32),
            ("STAGED_QUADS", self.staged_quads as u32),
            ("TAP_ROWS", sizes.taps[0] as u32),
            ("TAP_COLUMNS", sizes.taps[1] as u32),
        ]);
        let workgroups = self.workgroups(sizes);
        let mut call = KernelCall::new(source, geometry.constants(), Binding::operands(OPERANDS), workgroups);
        match pass {
            FusedPass::Forward(epilogue) => epilogue.complete(&mut call, OPERANDS),
            FusedPass::GradInput { prologue, .. } | FusedPass::GradFilters { prologue, .. } => {
                prologue.complete_packets(&mut call, OPERANDS, true);
            }
        }
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::epilogue::Epilogue;
    use crate::ops::window::{Padding, WindowOptions};
    use crate::tensor::ImageShape;

    fn geometry(batch: usize, size: usize, channels: [usize; 2], kernel: usize) -> ConvGeometry {
        let image = ImageShape { height: size, width: size, channels: channels[0] };
        let window = WindowOptions { padding: Padding::Same, ..WindowOptions::new([kernel; 2]) };
        ConvGeometry::new(batch, image, channels[1], 1, &window).unwrap()
    }

    fn gpu() -> DeviceProfile {
        DeviceProfile {
            kind: DeviceKind::DiscreteGpu,
            multiprocessors: Some(132),
            ..DeviceProfile::portable()
        }
    }

    fn blocks(geometry: &ConvGeometry) -> Vec<(Sizes, Block)> {
        let sizes = Sizes::of(geometry, &FusedPass::Forward(Epilogue::NONE)).unwrap();
        ROWS.into_iter().filter_map(|(_, rows)| Some((sizes, Block::best(rows, &sizes, &gpu())?))).collect()
    }

    #[test]
    fn blocks_fit_the_device_and_stage_whole_parts_of_the_channels() {
        let sizes = [1, 7, 14, 31, 33, 64, 112];
        let channels = [[4, 4], [16, 16], [24, 64], [64, 24], [128, 128]];
        for (size, channels) in sizes.into_iter().flat_map(|size| channels.map(|channels| (size, channels))) {
            for kernel in [2, 3, 5, 7] {
                let found = blocks(&geometry(2, size, channels, kernel));
                assert_eq!(found.len(), 2, "{size}, {channels:?}, {kernel}");
                for (sizes, block) in found {
                    assert!(block.invocations() <= MOST_INVOCATIONS, "{block:?}");
                    let bytes = 16 * block.staged(&sizes).iter().sum::<usize>();
                    assert!(
                        bytes <= MOST_BYTES.min(gpu().max_workgroup_bytes as usize),
                        "{block:?}: {bytes} bytes"
                    );
                    assert!(sizes.source_quads.is_multiple_of(block.staged_quads), "{block:?}");
                    assert!(
                        sizes.width.div_ceil(block.columns) * block.columns < sizes.width + block.columns
                    );
                }
            }
        }
    }

    #[test]
    fn a_large_device_gets_enough_workgroups() {
        let [(sizes, block), _] = blocks(&geometry(128, 32, [16, 16], 3))[..] else { panic!("two blocks") };
        assert!(block.workgroups(&sizes) * block.invocations() >= 132 * 256, "{block:?}");
        assert_eq!((block.columns, block.quads), (32, 2), "{block:?}");
    }

    #[test]
    fn other_convolutions_have_other_kernels() {
        let suits =
            |geometry: ConvGeometry| Sizes::of(&geometry, &FusedPass::Forward(Epilogue::NONE)).is_some();
        assert!(suits(geometry(1, 9, [8, 8], 3)));
        for channels in [[6, 8], [8, 6], [132, 8], [8, 132]] {
            assert!(!suits(geometry(1, 9, channels, 3)), "{channels:?}");
        }
        assert!(!suits(geometry(1, 9, [8, 8], 1)) && !suits(geometry(1, 19, [8, 8], 9)));
        let image = ImageShape { height: 9, width: 9, channels: 8 };
        for (stride, dilation, groups) in [([2, 1], [1, 1], 1), ([1, 1], [1, 2], 1), ([1, 1], [1, 1], 2)] {
            let window = WindowOptions { stride, dilation, ..WindowOptions::new([3, 3]) };
            assert!(
                !suits(ConvGeometry::new(1, image, 8, groups, &window).unwrap()),
                "{stride:?} {dilation:?} {groups}"
            );
        }
    }
}
