//! How an operation runs on a GPU, as plain data: no type of any GPU library appears here.

use std::fmt::Write;

/// A way to run an operation on the GPU: its kernel calls in order, and the scratch buffers they need.
#[derive(Clone, Debug, PartialEq)]
pub struct Implementation {
    /// `direct`, `tiled`, ...
    pub name: &'static str,
    /// The kernel launches, in order.
    pub calls: Vec<KernelCall>,
    /// Numbers of f32 elements of the scratch buffers.
    pub workspace: Vec<usize>,
}

impl Implementation {
    /// An implementation of one kernel launch that needs no scratch memory.
    pub fn of(name: &'static str, call: KernelCall) -> Self {
        Implementation { name, calls: vec![call], workspace: Vec::new() }
    }
}

/// A kernel launch.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelCall {
    /// The kernel.
    pub source: Source,
    /// Values of the source's `override` declarations, by name; all of them, and no others.
    pub constants: Vec<(&'static str, Constant)>,
    /// What is bound: entry `i` becomes `@binding(i)` of group 0.
    pub bindings: Vec<Binding>,
    /// Number of workgroups along x, y and z.
    pub workgroups: [u32; 3],
}

/// Every kernel's entry point.
pub const ENTRY_POINT: &str = "main";

/// Invocations in a workgroup of the kernels that own one element an invocation.
pub const WORKGROUP_SIZE: u32 = 64;

/// The most workgroups that every device takes along one axis.
pub const MAX_WORKGROUPS_PER_AXIS: u32 = 65_535;

impl KernelCall {
    /// A launch with an invocation for each of `elements`, numbered by `global_index` of
    /// `shaders/grid.wgsl`; operands `0..operands` are bound in order.
    pub fn elementwise(
        source: Source,
        constants: Vec<(&'static str, Constant)>,
        operands: usize,
        elements: usize,
    ) -> Self {
        let workgroups = grid(elements.div_ceil(WORKGROUP_SIZE as usize));
        KernelCall { source, constants, bindings: Binding::operands(operands), workgroups }
    }
}

/// Folds a number of workgroups into x and y, since an axis takes 65,535 at most. The kernel finds its
/// number again as `y * num_workgroups.x + x`, and leaves when it is past the end.
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

/// What stands behind one `@binding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The operation's operand of this number.
    Operand(usize),
    /// The implementation's scratch buffer of this number.
    Workspace(usize),
}

impl Binding {
    /// Operands 0 to `count` - 1.
    pub fn operands(count: usize) -> Vec<Binding> {
        (0..count).map(Binding::Operand).collect()
    }
}

/// A kernel's WGSL: whole files one after the other, then `const` lines for the sizes that WGSL does not
/// take as overrides. Nothing stands before the first file, so its line numbers in messages stay true.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The first file, below `shaders/`: the kernel's name.
    pub name: &'static str,
    /// Contents of the files.
    pub files: Vec<&'static str>,
    /// Register-tile sizes and the like.
    pub sizes: Vec<(&'static str, u32)>,
}

impl Source {
    /// The same source with `const name: u32 = value;` appended for each of `sizes`.
    pub fn with_sizes(mut self, sizes: &[(&'static str, u32)]) -> Self {
        self.sizes.extend_from_slice(sizes);
        self
    }

    /// The whole WGSL module.
    pub fn compose(&self) -> String {
        let mut text = self.files.join("\n");
        for (name, value) in &self.sizes {
            writeln!(text, "const {name}: u32 = {value}u;").expect("writing to a string");
        }
        text
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
            sizes: vec![],
        }
    };
}
pub(crate) use shader;

#[cfg(test)]
mod tests {
    use super::*;

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
