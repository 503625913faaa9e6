//! How an operation runs on a GPU, as plain data: no type of any GPU library appears here.

use std::fmt::Write;

use super::cost::{Cost, CostClass};
use super::halves::in_halves;

/// A way to run an operation on the GPU: its kernel calls in order, and the scratch buffers they need.
#[derive(Clone, Debug, PartialEq)]
pub struct Implementation {
    /// `direct`, `tiled`, ...
    pub name: &'static str,
    /// The kernel launches, in order.
    pub calls: Vec<KernelCall>,
    /// Numbers of elements of the scratch buffers, of 32 bits each.
    pub workspace: Vec<usize>,
    /// Whether small integers give an exact answer, if the operation's [`Precision`](super::Precision) says so. An
    /// implementation that rounds intermediate results, such as fractions without a finite binary form, does not.
    pub exact_on_integers: bool,
    /// How many times the rounding errors of the operation's own sums its answers may have: 1, or more where transforms
    /// amplify them. They stay within this times [`Precision::bound`](super::Precision::bound).
    pub amplification: f64,
    /// The calls that do nothing but add slices of sums, in order: an executor may put them off, and add the slices of several
    /// operations in one launch.
    pub slice_sums: Vec<SliceSum>,
    /// The moments of its result that a call leaves for others.
    pub moments: Option<TileMoments>,
    /// What it is expected to cost, by the rules that offer it.
    pub cost: Cost,
}

/// Slices of sums, which the calls of an implementation write to a scratch buffer `[slices, elements]`, and a call that adds
/// them: `result[i] = sum over slices of scratch[slice,i]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceSum {
    /// The number of the call.
    pub call: usize,
    /// The number of the scratch buffer.
    pub scratch: usize,
    /// The number of the operand that is the result.
    pub result: usize,
    /// Number of elements of the result.
    pub elements: usize,
    /// Number of slices.
    pub slices: usize,
    /// Number of invocations that share a sum, a power of two: invocation `l` adds every `lanes`-th slice from `l` on, and
    /// their sums are added as a tree. The order is always this, so that the answer has the same bits wherever the slices are
    /// added.
    pub lanes: usize,
}

/// The moments of the columns of a result `[m,columns]` over each tile of its rows, in any order, which a call leaves in a
/// scratch buffer `[tiles,columns]`: pairs of the mean and the sum of squared differences from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileMoments {
    /// The number of the scratch buffer.
    pub scratch: usize,
    /// Number of rows of a tile; the last one may have fewer.
    pub rows: usize,
}

/// `implementations` by rising costs; those of equal costs stay in their order.
pub fn best_first(mut implementations: Vec<Implementation>) -> Vec<Implementation> {
    implementations.sort_by(|a, b| {
        let classes = a.cost.class.cmp(&b.cost.class);
        classes.then(a.cost.time.total_cmp(&b.cost.time))
    });
    implementations
}

impl Implementation {
    /// An implementation of one kernel launch that needs no scratch memory.
    pub fn of(name: &'static str, call: KernelCall) -> Self {
        Implementation::of_calls(name, vec![call], Vec::new())
    }

    /// An implementation of several kernel launches, with the elements of each scratch buffer that they use.
    pub fn of_calls(name: &'static str, calls: Vec<KernelCall>, workspace: Vec<usize>) -> Self {
        let cost = Cost::of_class(CostClass::Plain);
        Implementation {
            name,
            calls,
            workspace,
            exact_on_integers: true,
            amplification: 1.0,
            slice_sums: Vec::new(),
            moments: None,
            cost,
        }
    }

    /// The same implementation, and then `next`, an implementation of another operation, whose operands are those of these
    /// numbers.
    pub fn followed_by(self, next: Implementation, operands: &[usize]) -> Self {
        let first = self.workspace.len();
        self.and_then(next, operands, |scratch| first + scratch)
    }

    /// The same implementation, and then `next`, as by [`followed_by`](Self::followed_by), which reads the moments that this one
    /// leaves as its first scratch buffer.
    ///
    /// # Panics
    /// If it leaves none.
    pub fn followed_by_reader(mut self, mut next: Implementation, operands: &[usize]) -> Self {
        let TileMoments { scratch: shared, .. } = self.moments.take().expect("moments to read");
        assert_eq!(next.workspace.remove(0), self.workspace[shared], "elements of the moments");
        let first = self.workspace.len();
        self.and_then(next, operands, |scratch| scratch.checked_sub(1).map_or(shared, |own| first + own))
    }

    fn and_then(
        mut self,
        next: Implementation,
        operands: &[usize],
        scratch: impl Fn(usize) -> usize,
    ) -> Self {
        let calls = self.calls.len();
        let bound = |binding| match binding {
            Binding::Operand(number) => Binding::Operand(operands[number]),
            Binding::Workspace(number) => Binding::Workspace(scratch(number)),
            Binding::Span { .. } => unreachable!("operations on spans follow no others"),
        };
        self.calls.extend(next.calls.into_iter().map(|mut call| {
            call.bindings.iter_mut().for_each(|binding| *binding = bound(*binding));
            call
        }));
        self.slice_sums.extend(next.slice_sums.into_iter().map(|sum| SliceSum {
            call: calls + sum.call,
            scratch: scratch(sum.scratch),
            result: operands[sum.result],
            ..sum
        }));
        self.workspace.extend(next.workspace);
        self.exact_on_integers &= next.exact_on_integers;
        self.amplification = self.amplification.max(next.amplification);
        self
    }

    /// Leaves out the call that adds the slices in this scratch buffer.
    pub fn without_slice_sum(&mut self, scratch: usize) {
        let Some(place) = self.slice_sums.iter().position(|sum| sum.scratch == scratch) else { return };
        let call = self.slice_sums.remove(place).call;
        self.calls.remove(call);
        self.slice_sums.iter_mut().filter(|sum| sum.call > call).for_each(|sum| sum.call -= 1);
    }

    /// Whether a call binds this operand.
    pub fn binds(&self, operand: usize) -> bool {
        self.calls.iter().any(|call| call.bindings.contains(&Binding::Operand(operand)))
    }

    /// The same implementation at another cost than that of a plain one.
    pub fn at(self, cost: Cost) -> Self {
        Implementation { cost, ..self }
    }

    /// The same implementation, made for sizes like these.
    pub fn tailored(self) -> Self {
        self.at(Cost::of_class(CostClass::Tailored))
    }
}

/// A kernel launch.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelCall {
    /// The kernel.
    pub source: Source,
    /// Values of the source's `override` declarations, by name; all of them, and no others.
    pub constants: Vec<(&'static str, Constant)>,
    /// The bindings: entry `i` becomes `@binding(i)` of group 0.
    pub bindings: Vec<Binding>,
    /// Number of workgroups along x, y and z.
    pub workgroups: [u32; 3],
}

/// Every kernel's entry point.
pub const ENTRY_POINT: &str = "main";

/// Number of invocations in a workgroup of kernels in which an invocation owns one element.
pub const WORKGROUP_SIZE: u32 = 64;

/// Elements that an invocation owns where it owns several: their loads wait together. As in `shaders/grid.wgsl`.
pub const TOGETHER: usize = 4;

/// The largest number of workgroups along one axis that every device supports.
pub const MAX_WORKGROUPS_PER_AXIS: u32 = 65_535;

/// The most buffers that every device can bind to a kernel.
pub const MAX_BINDINGS: usize = 8;

/// The constant of `shaders/grid.wgsl` for a launch in one piece.
pub const FROM_THE_FIRST_WORKGROUP: (&str, Constant) = ("FIRST_WORKGROUP", Constant::U32(0));

impl KernelCall {
    /// A launch of this number of workgroups, numbered by `workgroup_number` of `shaders/grid.wgsl`.
    pub fn new(
        source: Source,
        mut constants: Vec<(&'static str, Constant)>,
        bindings: Vec<Binding>,
        workgroups: usize,
    ) -> Self {
        constants.push(FROM_THE_FIRST_WORKGROUP);
        KernelCall { source, constants, bindings, workgroups: grid(workgroups) }
    }

    /// A launch with one invocation per element, numbered by `global_index` of `shaders/grid.wgsl`; operands
    /// `0..operands` are bound in order.
    pub fn elementwise(
        source: Source,
        constants: Vec<(&'static str, Constant)>,
        operands: usize,
        elements: usize,
    ) -> Self {
        let workgroups = elements.div_ceil(WORKGROUP_SIZE as usize);
        KernelCall::new(source, constants, Binding::operands(operands), workgroups)
    }

    /// A launch with one invocation for [`TOGETHER`] elements each, numbered by `first_index` of `shaders/grid.wgsl`.
    pub fn elementwise_together(
        source: Source,
        constants: Vec<(&'static str, Constant)>,
        operands: usize,
        elements: usize,
    ) -> Self {
        KernelCall::elementwise(source, constants, operands, elements.div_ceil(TOGETHER))
    }
}

impl KernelCall {
    /// Adds a binding, and the const line of this `name` with its number.
    pub fn bind(&mut self, name: &'static str, binding: Binding) {
        self.source.sizes.push((name, self.bindings.len() as u32));
        self.bindings.push(binding);
    }

    /// Adds the functions in `with`, for the `operand` of this number, and its binding as by [`bind`](Self::bind); or those in
    /// `without`, which do without the operand.
    pub fn complete(&mut self, operand: Option<usize>, name: &'static str, with: Source, without: Source) {
        match operand {
            Some(operand) => {
                self.source.files.extend(with.files);
                self.bind(name, Binding::Operand(operand));
            }
            None => self.source.files.extend(without.files),
        }
    }

    /// The same work as consecutive launches of about equal length: `wanted` of them or a few more, but no more than
    /// there are workgroups along x and y, and a single one if the kernel does not number its workgroups with
    /// `shaders/grid.wgsl`. Every workgroup runs in exactly one launch.
    pub fn in_pieces(self, wanted: usize) -> Vec<KernelCall> {
        let [x, y, z] = self.workgroups;
        let workgroups = x as usize * y as usize;
        let position = self.constants.iter().position(|&constant| constant == FROM_THE_FIRST_WORKGROUP);
        let (Some(position), true) = (position, wanted > 1) else { return vec![self] };
        // A piece that fits one axis does not run past its end.
        let length = workgroups.div_ceil(wanted).min(MAX_WORKGROUPS_PER_AXIS as usize);
        (0..workgroups)
            .step_by(length)
            .map(|first| {
                let mut piece = self.clone();
                piece.constants[position].1 = first.into();
                piece.workgroups = [length.min(workgroups - first) as u32, 1, z];
                piece
            })
            .collect()
    }
}

/// Folds a number of workgroups into x and y, since an axis has at most 65,535. The kernel computes its number as `y *
/// num_workgroups.x + x`, and returns if that is past the end.
pub fn grid(workgroups: usize) -> [u32; 3] {
    let limit = MAX_WORKGROUPS_PER_AXIS as usize;
    let rows = workgroups.div_ceil(limit).max(1);
    let columns = workgroups.div_ceil(rows).max(1);
    assert!(rows <= limit, "{workgroups} workgroups do not fit one launch");
    [columns as u32, rows as u32, 1]
}

/// Value of an `override`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Constant {
    /// For an `override` of type u32.
    U32(u32),
    /// For an `override` of type f32.
    F32(f32),
}

impl From<u32> for Constant {
    fn from(value: u32) -> Self {
        Constant::U32(value)
    }
}

impl From<bool> for Constant {
    fn from(value: bool) -> Self {
        Constant::U32(value.into())
    }
}

/// A size, known to be below 2^31 since every tensor's element count is.
impl From<usize> for Constant {
    fn from(value: usize) -> Self {
        Constant::U32(u32::try_from(value).expect("a size below 2^32"))
    }
}

impl From<f32> for Constant {
    fn from(value: f32) -> Self {
        Constant::F32(value)
    }
}

/// The buffer of one `@binding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// The operation's operand of this number.
    Operand(usize),
    /// The implementation's scratch buffer of this number.
    Workspace(usize),
    /// The operation's operands from number `first` to number `last`, which lie side by side as described in
    /// [`side_by_side`](super::span::side_by_side): one array, with zeros between the tensors.
    Span {
        /// The number of the first.
        first: usize,
        /// The number of the last.
        last: usize,
    },
}

impl Binding {
    /// Operands 0 to `count` - 1.
    pub fn operands(count: usize) -> Vec<Binding> {
        (0..count).map(Binding::Operand).collect()
    }
}

/// A kernel's WGSL: whole files one after another, then `const` lines for the sizes for which WGSL does not accept
/// overrides. Nothing precedes the first file, so that its line numbers in messages are correct.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// The first file, below `shaders/`: the kernel's name.
    pub name: &'static str,
    /// Contents of the files.
    pub files: Vec<&'static str>,
    /// Sizes of register tiles and similar constants.
    pub sizes: Vec<(&'static str, u32)>,
    /// Numbers of the bindings whose arrays hold halves; the files are written for reals.
    pub halves: Vec<u32>,
    /// Constants that tell into how many halves values are split, by name, with the numbers of the bindings that hold the values:
    /// 1 if they are halves, 2 otherwise.
    pub parts: Vec<(&'static str, u32)>,
    /// The extensions of WGSL that the files use.
    pub enables: Vec<&'static str>,
}

impl Source {
    /// The same source with `const name: u32 = value;` appended for each of `sizes`.
    pub fn with_sizes(mut self, sizes: &[(&'static str, u32)]) -> Self {
        self.sizes.extend_from_slice(sizes);
        self
    }

    /// The whole WGSL module.
    pub fn compose(&self) -> String {
        let mut text = String::new();
        if !self.enables.is_empty() {
            // In front of the first line, so that line numbers are those of the file.
            write!(text, "enable {}; ", self.enables.join(", ")).expect("writing to a string");
        }
        text.push_str(&self.files.join("\n"));
        for (name, value) in &self.sizes {
            writeln!(text, "const {name}: u32 = {value}u;").expect("writing to a string");
        }
        for (name, binding) in &self.parts {
            let parts = if self.halves.contains(binding) { 1 } else { 2 };
            writeln!(text, "const {name}: u32 = {parts}u;").expect("writing to a string");
        }
        if self.halves.is_empty() {
            return text;
        }
        let size = |name: &str| self.sizes.iter().find(|size| size.0 == name).map(|size| size.1);
        in_halves(&text, &self.halves, size)
    }
}

/// A [`Source`] from files below `shaders/`; the first gives the name.
macro_rules! shader {
    ($first:literal $(, $more:literal)* $(,)?) => {
        $crate::ops::kernel::Source {
            name: $first,
            files: vec![
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $first)),
                $(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $more)),)*
            ],
            ..Default::default()
        }
    };
}
pub(crate) use shader;

#[cfg(test)]
mod tests {
    use super::*;

    fn call(workgroups: [u32; 3]) -> KernelCall {
        let source = Source { name: "test", ..Source::default() };
        let constants = vec![("ELEMENTS", 7u32.into()), FROM_THE_FIRST_WORKGROUP];
        KernelCall { source, constants, bindings: vec![], workgroups }
    }

    #[test]
    fn the_best_of_each_kind_comes_before_the_others_of_any() {
        let way = |name, class, time| {
            Implementation::of_calls(name, Vec::new(), Vec::new()).at(Cost { class, time })
        };
        let sorted = best_first(vec![
            way("plain", CostClass::Plain, 0.0),
            way("second tile", CostClass::RunnerUp, 2.0),
            way("third tile", CostClass::RunnerUp, 2.0),
            way("best tile", CostClass::BestOfKind, 1.5),
            way("other transform", CostClass::Reserve, 1.2),
            way("best transform", CostClass::BestOfKind, 1.0),
            way("tailored", CostClass::Tailored, 9.0),
        ]);
        let names: Vec<&str> = sorted.iter().map(|way| way.name).collect();
        let expected = [
            "tailored",
            "best transform",
            "best tile",
            "second tile",
            "third tile",
            "other transform",
            "plain",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn pieces_cover_every_workgroup_once() {
        for (workgroups, wanted) in [([1, 1, 4], 9), ([10, 1, 2], 3), ([65_535, 3, 1], 2), ([7, 5, 1], 35)] {
            let pieces = call(workgroups).in_pieces(wanted);
            let mut next = 0;
            for piece in &pieces {
                assert_eq!(piece.constants[1], ("FIRST_WORKGROUP", Constant::U32(next)));
                assert_eq!(piece.workgroups[1..], [1, workgroups[2]]);
                assert!(piece.workgroups[0] <= MAX_WORKGROUPS_PER_AXIS);
                next += piece.workgroups[0];
            }
            assert_eq!(next, workgroups[0] * workgroups[1]);
        }
    }

    #[test]
    fn a_kernel_that_does_not_number_its_workgroups_stays_whole() {
        let whole = KernelCall { constants: vec![], ..call([100, 1, 1]) };
        assert_eq!(whole.clone().in_pieces(5), [whole]);
        assert_eq!(call([100, 1, 1]).in_pieces(1), [call([100, 1, 1])]);
    }

    #[test]
    fn a_grid_covers_its_workgroups_within_the_limit_of_an_axis() {
        for workgroups in [0, 1, 65_535, 65_536, 1_000_000, 33_554_432] {
            let [x, y, z] = grid(workgroups);
            assert!(x <= MAX_WORKGROUPS_PER_AXIS && y <= MAX_WORKGROUPS_PER_AXIS && z == 1);
            let covered = x as usize * y as usize;
            assert!(covered >= workgroups && covered < workgroups.max(1) + y as usize);
        }
    }
}
