//! Verification itself: wrong answers are caught, right answers pass, and answers that prove little are reported as
//! such.

mod common;

use wgconv::device::DeviceProfile;
use wgconv::gpu::ShaderChecks;
use wgconv::host::CpuExecutor;
use wgconv::ops::activation::{Activation, ActivationForward};
use wgconv::ops::conv::{ConvForward, ConvGeometry};
use wgconv::ops::kernel::{Constant, Implementation};
use wgconv::ops::pool::{PoolGeometry, PoolGrad, PoolKind};
use wgconv::ops::window::{Padding, WindowOptions};
use wgconv::ops::{CpuForm, Op, Operand, Operands, Precision};
use wgconv::plan::Workbench;
use wgconv::tensor::ImageShape;
use wgconv::verify::cases::Case;
use wgconv::verify::{Data, Status, Verdict, verify};

/// A convolution whose fast forms use another padding than its definition.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    defined: ConvForward,
    shifted: ConvForward,
}

impl Wrong {
    fn new() -> Self {
        let forward = |[before, after]: [usize; 2]| {
            let image = ImageShape { height: 7, width: 6, channels: 5 };
            let padding = Padding::Sides { top: before, bottom: after, left: 1, right: 1 };
            let window = WindowOptions { padding, ..WindowOptions::new([3, 3]) };
            ConvForward::new(ConvGeometry::new(2, image, 9, 1, &window).unwrap())
        };
        Wrong { defined: forward([1, 1]), shifted: forward([2, 0]) }
    }
}

impl Op for Wrong {
    fn name(&self) -> &'static str {
        "conv2d.wrong"
    }
    fn operands(&self) -> Vec<Operand> {
        self.defined.operands()
    }
    fn define(&self, operands: &mut Operands<f64>) {
        self.defined.define(operands);
    }
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        self.shifted.cpu_forms()
    }
    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        self.shifted.implementations(device)
    }
    fn flops(&self) -> u64 {
        self.defined.flops()
    }
    fn precision(&self) -> Precision {
        self.defined.precision()
    }
}

type Spoil = fn(&mut Implementation);

/// A correct convolution, except for the kernel that `spoil` modifies.
#[derive(Clone, Copy, Debug)]
struct Spoilt {
    right: ConvForward,
    spoil: Spoil,
}

impl Op for Spoilt {
    fn name(&self) -> &'static str {
        "conv2d.spoilt"
    }
    fn operands(&self) -> Vec<Operand> {
        self.right.operands()
    }
    fn define(&self, operands: &mut Operands<f64>) {
        self.right.define(operands);
    }
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        self.right.cpu_forms()
    }
    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let mut implementations = self.right.implementations(device);
        let direct = implementations.iter_mut().find(|implementation| implementation.name == "direct");
        (self.spoil)(direct.expect("a direct kernel"));
        implementations
    }
    fn flops(&self) -> u64 {
        self.right.flops()
    }
    fn precision(&self) -> Precision {
        self.right.precision()
    }
}

/// Verifies every implementation of `op`, on integers and on reals.
fn verdicts(executor: &mut dyn Workbench, op: impl Op + Copy + 'static) -> Vec<Verdict> {
    let implementations = executor.implementations(&op);
    let on = |data| verify(Case::new("a case", op), data, executor, &implementations);
    Data::ALL.into_iter().flat_map(on).collect()
}

#[track_caller]
fn assert_all(verdicts: &[Verdict], status: Status, reason: &str) {
    assert!(!verdicts.is_empty());
    for verdict in verdicts {
        assert!(verdict.status == status && verdict.detail.contains(reason), "{verdict}");
    }
}

#[test]
fn a_wrong_cpu_form_fails_and_the_right_one_passes() {
    let mut cpu = CpuExecutor::new();
    let wrong = Wrong::new();
    assert_all(&verdicts(&mut cpu, wrong), Status::Failed, "output[");
    assert_all(&verdicts(&mut cpu, wrong.defined), Status::Passed, "");
}

#[test]
fn a_wrong_padding_fails_in_every_implementation_on_the_gpu() {
    let Some(mut gpu) =
        common::gpu("a_wrong_padding_fails_in_every_implementation_on_the_gpu", ShaderChecks::Off)
    else {
        return;
    };
    let wrong = Wrong::new();
    let failed = verdicts(&mut gpu, wrong);
    assert!(failed.len() > 2, "{failed:?}");
    assert_all(&failed, Status::Failed, "output[");
    assert_all(&verdicts(&mut gpu, wrong.defined), Status::Passed, "");
}

#[test]
fn a_spoilt_kernel_alone_fails() {
    let Some(mut gpu) = common::gpu("a_spoilt_kernel_alone_fails", ShaderChecks::Off) else { return };
    let right = Wrong::new().defined;
    let wrong_constant = |implementation: &mut Implementation| {
        let constants = &mut implementation.calls[0].constants;
        let (_, dilation) =
            constants.iter_mut().find(|(name, _)| *name == "DILATION_WIDTH").expect("an override");
        *dilation = Constant::U32(2);
    };
    let nothing_written =
        |implementation: &mut Implementation| implementation.calls[0].workgroups = [0, 1, 1];
    let no_wgsl = |implementation: &mut Implementation| implementation.calls[0].source.files.push("fn fn");
    let spoils: [(Spoil, &str); 3] =
        [(wrong_constant, "output["), (nothing_written, "output[0]"), (no_wgsl, "compiling a kernel failed")];
    for (spoil, reason) in spoils {
        let verdicts = verdicts(&mut gpu, Spoilt { right, spoil });
        let (spoilt, others): (Vec<_>, Vec<_>) =
            verdicts.into_iter().partition(|verdict| verdict.implementation == "direct");
        assert_all(&spoilt, Status::Failed, reason);
        assert_all(&others, Status::Passed, "");
    }
}

#[test]
fn what_is_not_exact_on_integers_is_skipped_there() {
    let op = ActivationForward { activation: Activation::Tanh, elements: 100 };
    let (integers, reals): (Vec<_>, Vec<_>) =
        verdicts(&mut CpuExecutor::new(), op).into_iter().partition(|verdict| verdict.data == Data::Integers);
    assert_all(&integers, Status::Skipped, "not exact on integers");
    assert_all(&reals, Status::Passed, "");
}

#[test]
fn an_implementation_that_is_not_exact_on_integers_is_skipped_there() {
    let Some(mut gpu) =
        common::gpu("an_implementation_that_is_not_exact_on_integers_is_skipped_there", ShaderChecks::Off)
    else {
        return;
    };
    let inexact = |implementation: &mut Implementation| implementation.exact_on_integers = false;
    let op = Spoilt { right: Wrong::new().defined, spoil: inexact };
    let (skipped, others): (Vec<_>, Vec<_>) = verdicts(&mut gpu, op)
        .into_iter()
        .partition(|verdict| verdict.implementation == "direct" && verdict.data == Data::Integers);
    assert_all(&skipped, Status::Skipped, "not exact on integers");
    assert_all(&others, Status::Passed, "");
}

#[test]
fn answers_that_are_almost_all_zeros_are_mistrusted() {
    // One winner in a window of height x height, and zeros elsewhere.
    let pool = |height: usize| {
        let image = ImageShape { height, width: height, channels: 3 };
        let geometry = PoolGeometry::new(2, image, &WindowOptions::new([height; 2])).unwrap();
        PoolGrad::new(PoolKind::Max, geometry)
    };
    let mut cpu = CpuExecutor::new();
    let reals = |verdicts: Vec<Verdict>| -> Vec<Verdict> {
        verdicts.into_iter().filter(|verdict| verdict.data == Data::Reals).collect()
    };
    assert_all(&reals(verdicts(&mut cpu, pool(10))), Status::Passed, "");
    assert_all(&reals(verdicts(&mut cpu, pool(11))), Status::Mistrusted, "only 6 of 726 values differ");
}
