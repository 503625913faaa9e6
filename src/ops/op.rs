//! The trait of operations: operands, definition, and the ways to run them.

use std::any::Any;
use std::fmt::Debug;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use super::gemm::{LateSum, SumTable};
use super::kernel::Implementation;
use super::{Epilogue, Prologue};
use crate::device::DeviceProfile;
use crate::tensor::Shape;
use crate::{Result, host_memory};

/// The advice of errors about buffers that do not fit in memory.
const ADVICE: &str = "a smaller batch";

/// One operation: its definition and the ways to run it, side by side.
///
/// Executors use operations only through this trait, and name none. The output of `Debug` must contain all sizes, since
/// measurements of an operation are reused for operations with the same name and output.
pub trait Op: Any + Debug + Send + Sync {
    /// Name of the operation, as messages and tables print it: `conv2d.forward`.
    fn name(&self) -> &'static str;

    /// The tensors that the operation works on, in the order in which a step binds buffers to them.
    fn operands(&self) -> Vec<Operand>;

    /// Ranges of operands that must lie side by side in memory, in their order, so that a kernel can bind each range at
    /// once; see [`Binding::Span`](super::kernel::Binding::Span). They are reals, alike in name and access.
    fn side_by_side(&self) -> Vec<Range<usize>> {
        Vec::new()
    }

    /// Runs the definition: plain loops over f64, written from the formula and from nothing else.
    ///
    /// Whatever is fast is checked against this.
    fn define(&self, operands: &mut Operands<f64>);

    /// The definition of element `index` of the operands that the operation writes, counted through all of them;
    /// `read(operand, position)` returns a value of another operand, as it was given or, if the operation writes it and does
    /// not read it, as it was answered. `None` if the operation has no definition of single elements.
    ///
    /// This allows a large operation's answer to be checked on a sample.
    fn define_at(&self, _read: &Read<'_>, _index: usize) -> Option<f64> {
        None
    }

    /// The ways to run the operation on all cores of the CPU, best guess first, each under a name of its own. Never
    /// empty.
    ///
    /// A form's answer must not depend on the number of threads.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>>;

    /// The ways to run the operation on `device`, best guess first, each under a name of its own. Never empty:
    /// the last one takes every geometry on every device.
    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation>;

    /// A way to run the operation that first adds the slices of sums that are among its operands, and writes these, with the table
    /// of what is added: it binds as scratch buffers 0 and 1 the slices and the table. `None` if there is none.
    fn adding_slices(
        &self,
        _sums: &[LateSum],
        _device: &DeviceProfile,
    ) -> Option<(Implementation, SumTable)> {
        None
    }

    /// The simplest implementation, with which all others must agree on the device itself.
    fn reference_implementation(&self, device: &DeviceProfile) -> Implementation {
        self.implementations(device).pop().expect("an operation has an implementation")
    }

    /// Whether this `operand` may be stored as [halves](super::halves) where the precision is mixed. Sums, statistics and
    /// what the loss reads and writes may not.
    fn takes_halves(&self, _operand: usize) -> bool {
        true
    }

    /// The operation as a function of each value of this `operand`, if it is nothing else: an operation that writes the
    /// tensor may then apply the function before it stores the values.
    fn as_epilogue(&self, _operand: usize) -> Option<Valuewise<Epilogue>> {
        None
    }

    /// The operation that also applies `next` to each value of this `operand`, which it writes, if that is possible. The
    /// operands of `next` come after its own.
    fn fuse_epilogue(&self, _operand: usize, _next: Epilogue) -> Option<Box<dyn Op>> {
        None
    }

    /// The operation as a function of each value of a gradient, if it is nothing else: operations that read the result
    /// may then apply the function as they read the values.
    fn as_prologue(&self) -> Option<Valuewise<Prologue>> {
        None
    }

    /// The operation that also applies `before` to each value of this `operand` as it is read, if that is possible. The
    /// operands of `before` come after its own.
    fn fuse_prologue(&self, _operand: usize, _before: Prologue) -> Option<WithPrologue> {
        None
    }

    /// As [`fuse_prologue`](Op::fuse_prologue), by an operation that also writes the values that the prologue gives, for
    /// others that read them: they are the last of its operands.
    fn fuse_shared_prologue(&self, _operand: usize, _before: Prologue) -> Option<Box<dyn Op>> {
        None
    }

    /// The operation that computes the values of this `operand` again instead of reading them, if it can do so where
    /// `writer` has written them.
    fn recompute(&self, _operand: usize, _writer: &dyn Op) -> Option<Recomputing> {
        None
    }

    /// The operation that also applies `next` to each value of the gradient that it writes, if that is possible; the
    /// operands of `next` are these `operands` of its own.
    fn fuse_next_prologue(&self, _next: Prologue, _operands: &[usize]) -> Option<Box<dyn Op>> {
        None
    }

    /// The operation that also does what `other` does, if that reads what this one reads anyway.
    fn fuse_beside(&self, _other: &dyn Op) -> Option<Beside> {
        None
    }

    /// The operation that also does what `next` does to this `operand`, which this one writes, and does without it, if that is
    /// possible: what `next` writes takes its place, and the winners, from which the gradient of `next` can be computed, come
    /// after the operands of this one.
    fn condense(&self, _operand: usize, _next: &dyn Op) -> Option<Box<dyn Op>> {
        None
    }

    /// The operation that reads winners in the place of this `operand`, if it can. If it has one operand more than before, that
    /// is what was chosen.
    fn reading_winners(&self, _operand: usize) -> Option<Box<dyn Op>> {
        None
    }

    /// The operation that also does what `next` does to this `operand`, a gradient which this one writes, and does without it, if
    /// that is possible: what `next` writes takes its place, and what else `next` reads comes after the operands of this one.
    fn unpool(&self, _operand: usize, _next: &dyn Op) -> Option<Box<dyn Op>> {
        None
    }

    /// The value that an `index` chooses, by definition, at this `position` of this `operand`, which holds such winners; `None`
    /// if it chooses none. Where values are about as large as each other, rounding decides which one wins.
    fn chosen(&self, _read: &Read<'_>, _operand: usize, _position: usize, _index: u32) -> Option<f64> {
        None
    }

    /// Bytes of the operands that one run reads or writes: all of them, unless it uses a part.
    fn bytes(&self) -> u64 {
        self.operands().iter().map(|operand| operand.element.bytes(operand.shape.elements())).sum()
    }

    /// Floating-point operations of one run; a fused multiply-add counts as two.
    fn flops(&self) -> u64;

    /// The largest difference between a right answer in f32 and the definition's.
    fn precision(&self) -> Precision;

    /// The same for this `operand`, which the operation writes, where it is more accurate than the others. Integers are as
    /// exact as [`precision`](Op::precision) says.
    fn precision_of(&self, _operand: usize) -> Precision {
        self.precision()
    }
}

/// The content of an operation's operands: `read(operand, position)` returns a value, with operands numbered as in
/// [`Op::operands`] and positions in memory order.
pub type Read<'a> = dyn Fn(usize, usize) -> f64 + Sync + 'a;

/// An operation as a function of each value of a tensor. Its other operands are those of the function, in their order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Valuewise<F> {
    /// The function applied to each value.
    pub function: F,
    /// Number of the operand whose values are read.
    pub takes: usize,
    /// Number of the operand to which the results are written: the same if values are changed in place.
    pub gives: usize,
}

/// An operation that applies a prologue to the values of an operand.
#[derive(Debug)]
pub struct WithPrologue {
    /// The operation.
    pub op: Box<dyn Op>,
    /// How often a GPU reads each value of the operand from memory.
    pub reads: usize,
}

/// An operation that computes an operand again, which the step of another operation has written.
#[derive(Debug)]
pub struct Recomputing {
    /// The operation, without that operand.
    pub op: Box<dyn Op>,
    /// Number of the operand among those of the writer.
    pub written: usize,
    /// Pairs of operands, of this operation as it was and of the writer, that must be the same buffers.
    pub same: Vec<[usize; 2]>,
    /// Numbers of the writer's operands that the operation also reads: they come after its own.
    pub further: Vec<usize>,
}

/// An operation that also does what another does.
#[derive(Debug)]
pub struct Beside {
    /// The operation.
    pub op: Box<dyn Op>,
    /// Pairs of operands, of this operation as it was and of the other, that must be the same buffers.
    pub same: Vec<[usize; 2]>,
    /// Numbers of the other operation's operands that the operation also has: they come after its own.
    pub further: Vec<usize>,
}

/// An implementation of an operation in host memory, on reals of type `T`.
pub struct CpuForm<'a, T = f32> {
    /// Its name, unique among the forms of the operation.
    pub name: &'static str,
    /// Whether it gives an exact answer for small integers, if the operation does so at all.
    pub exact_on_integers: bool,
    /// How many times the rounding errors of the operation's own sums its answers may have: 1, or more where transforms
    /// amplify them.
    pub amplification: f64,
    run: Box<Run<'a, T>>,
}

type Run<'a, T> = dyn Fn(&mut Operands<T>) + Send + Sync + 'a;

impl<'a> CpuForm<'a> {
    /// The only form of an operation.
    pub fn only(run: impl Fn(&mut Operands<f32>) + Send + Sync + 'a) -> Vec<Self> {
        vec![CpuForm::exact("cpu", run)]
    }
}

impl<'a, T> CpuForm<'a, T> {
    /// A form that sums the products of the definition, in any order.
    pub fn exact(name: &'static str, run: impl Fn(&mut Operands<T>) + Send + Sync + 'a) -> Self {
        CpuForm { name, exact_on_integers: true, amplification: 1.0, run: Box::new(run) }
    }

    /// A form that rounds intermediate results which the definition does not have, and amplifies their errors.
    pub fn rounding(
        name: &'static str,
        amplification: f64,
        run: impl Fn(&mut Operands<T>) + Send + Sync + 'a,
    ) -> Self {
        CpuForm { exact_on_integers: false, amplification, ..CpuForm::exact(name, run) }
    }

    /// Runs the operation.
    pub fn run(&self, operands: &mut Operands<T>) {
        (self.run)(operands);
    }
}

/// The accuracy of a right answer in f32, compared to the definition's answer in f64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// The largest number of terms that are summed for one element of the answer.
    pub summed: usize,
    /// Whether integers of a few bits give an exact answer in f32, whatever the order of the sums.
    pub exact_on_integers: bool,
    /// Error of one term, in units of [`f32::EPSILON`]: 1 for a product, more for an exponential.
    pub term_error: f64,
}

impl Precision {
    /// An operation that only moves, compares or selects values.
    pub const EXACT: Precision = Precision { summed: 1, exact_on_integers: true, term_error: 1.0 };

    /// A sum of `terms` products.
    pub fn sum_of_products(terms: usize) -> Self {
        Precision { summed: terms, exact_on_integers: true, term_error: 1.0 }
    }

    /// An elementwise function whose relative error is `term_error` units in the last place.
    pub fn approximate(term_error: f64) -> Self {
        Precision { summed: 1, exact_on_integers: false, term_error }
    }

    /// The largest difference of a right answer, for real operands in [-1, 1]: `EPSILON * term_error * (summed + 4)`.
    ///
    /// Every partial sum of a right answer is at most `summed` in size, each rounding adds an error of at most half an
    /// EPSILON times that, and errors of random sign grow with the square root of their number. The bound leaves room
    /// for all of that, and a wrong term (of size 1) exceeds it by far.
    pub fn bound(&self) -> f64 {
        f64::from(f32::EPSILON) * self.term_error * (self.summed as f64 + 4.0)
    }
}

/// The type of an operand's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// A real number: f32 on devices, f64 in the reference.
    Real,
    /// A real number as a half (f16) in device memory; among the reals in host memory.
    Half,
    /// An unsigned 32-bit integer: a label, a row, a step.
    Index,
    /// A byte; four to a 32-bit word on the GPU, the first in the low bits.
    Byte,
}

impl Element {
    /// Bytes of device memory for this number of elements: whole 32-bit words.
    pub fn bytes(self, elements: usize) -> u64 {
        match self {
            Element::Real | Element::Index => 4 * elements as u64,
            Element::Half => 4 * elements.div_ceil(2) as u64,
            Element::Byte => 4 * elements.div_ceil(4) as u64,
        }
    }

    /// Whether its values are reals.
    pub fn is_real(self) -> bool {
        matches!(self, Element::Real | Element::Half)
    }

    /// The type of such elements in host memory.
    pub fn in_host_memory(self) -> Element {
        if self.is_real() { Element::Real } else { self }
    }
}

/// What an operation does with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes every element, and never reads the old content.
    Write,
    /// Reads it and changes it in place.
    ReadWrite,
}

impl Access {
    /// Whether the operation reads the buffer's old content.
    pub fn reads(self) -> bool {
        self != Access::Write
    }

    /// Whether the operation changes the buffer.
    pub fn writes(self) -> bool {
        self != Access::Read
    }
}

/// A tensor that an operation reads or writes. Operand `i` is `@binding(i)` of a kernel that binds all operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    /// The tensor's name, the same in Rust, WGSL, tests and messages.
    pub name: &'static str,
    /// Its sizes.
    pub shape: Shape,
    /// What its elements are.
    pub element: Element,
    /// What the operation does with it.
    pub access: Access,
    /// For indices, the bound below which all values are. Tests and self-tests draw values accordingly.
    pub below: u32,
    /// For reals, whether no value is negative. Tests and self-tests draw values accordingly.
    pub without_sign: bool,
}

impl Operand {
    /// An operand of real numbers that are read.
    pub fn read(name: &'static str, shape: impl Into<Shape>) -> Self {
        Operand {
            name,
            shape: shape.into(),
            element: Element::Real,
            access: Access::Read,
            below: 0,
            without_sign: false,
        }
    }

    /// An operand of real numbers, all of which are written.
    pub fn write(name: &'static str, shape: impl Into<Shape>) -> Self {
        Operand { access: Access::Write, ..Operand::read(name, shape) }
    }

    /// An operand of real numbers that are changed in place.
    pub fn update(name: &'static str, shape: impl Into<Shape>) -> Self {
        Operand { access: Access::ReadWrite, ..Operand::read(name, shape) }
    }

    /// The same operand with indices below `below` as elements.
    pub fn indices(self, below: u32) -> Self {
        Operand { element: Element::Index, below, ..self }
    }

    /// The same operand without negative numbers.
    pub fn without_sign(self) -> Self {
        Operand { without_sign: true, ..self }
    }

    /// The same operand with bytes as elements.
    pub fn bytes(self) -> Self {
        Operand { element: Element::Byte, ..self }
    }
}

/// The content of one tensor in host memory, reals in the type `T`.
#[derive(Clone, Debug)]
pub struct HostBuffer<T> {
    values: Values<T>,
    // Where the tensor begins in the memory, if it holds reals: vectors of an aligned tensor lie in one cache line each.
    start: usize,
    // The memory may be longer, since tensors that exist one after another share it.
    elements: usize,
}

impl<T: PartialEq> PartialEq for HostBuffer<T> {
    fn eq(&self, other: &Self) -> bool {
        match (&self.values, &other.values) {
            (Values::Real(_), Values::Real(_)) => self.reals() == other.reals(),
            (Values::Index(_), Values::Index(_)) => self.indices() == other.indices(),
            (Values::Byte(_), Values::Byte(_)) => self.bytes() == other.bytes(),
            _ => false,
        }
    }
}

#[derive(Clone, Debug)]
enum Values<T> {
    Real(Vec<T>),
    Index(Vec<u32>),
    // Shared, since nothing changes them, so that a dataset need not be in memory twice.
    Byte(Arc<Vec<u8>>),
}

/// An empty buffer of reals, which replaces a buffer that is taken.
impl<T> Default for HostBuffer<T> {
    fn default() -> Self {
        HostBuffer::real(Vec::new())
    }
}

impl<T: Clone + Default> HostBuffer<T> {
    /// A buffer of `elements` zeros.
    ///
    /// # Panics
    /// If there is too little memory. For sizes from outside, use [`HostBuffer::try_zeros`].
    pub fn zeros(element: Element, elements: usize) -> Self {
        Self::try_zeros("a buffer", element, elements).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A buffer of `elements` zeros; `what` names it in the error.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) if there is too little memory.
    pub fn try_zeros(what: &str, element: Element, elements: usize) -> Result<Self> {
        // Written immediately, since memory that is reserved but not written still counts as available.
        fn filled<V: Clone + Default>(what: &str, elements: usize) -> Result<Vec<V>> {
            let mut values = host_memory::reserved(what, elements, ADVICE)?;
            values.resize(elements, V::default());
            Ok(values)
        }
        Ok(match element {
            Element::Real | Element::Half => {
                let needed = elements.saturating_add(host_memory::alignment_elements::<T>());
                let values: Vec<T> = filled(what, needed)?;
                let start = host_memory::aligned_start(&values, elements);
                HostBuffer { values: Values::Real(values), start, elements }
            }
            Element::Index => HostBuffer::index(filled(what, elements)?),
            // Reserved but not written: a dataset that is in memory already replaces it.
            Element::Byte => HostBuffer::byte(
                bytemuck::allocation::try_zeroed_vec(elements)
                    .map_err(|()| host_memory::refused(what, elements as u64, ADVICE))?,
            ),
        })
    }
}

/// The accessors panic if the buffer holds another type of element: a bug in the plan, not bad input.
impl<T> HostBuffer<T> {
    /// A buffer of real numbers.
    pub fn real(values: Vec<T>) -> Self {
        HostBuffer { elements: values.len(), start: 0, values: Values::Real(values) }
    }

    /// A buffer of indices.
    pub fn index(values: Vec<u32>) -> Self {
        HostBuffer { elements: values.len(), start: 0, values: Values::Index(values) }
    }

    /// A buffer of bytes.
    pub fn byte(values: Vec<u8>) -> Self {
        HostBuffer::shared_bytes(Arc::new(values))
    }

    /// A buffer of bytes that are shared with others.
    pub fn shared_bytes(values: Arc<Vec<u8>>) -> Self {
        HostBuffer { elements: values.len(), start: 0, values: Values::Byte(values) }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.elements
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// Sets the buffer's length to that of a tensor of `elements` elements, which must fit its memory.
    pub fn resize_within(&mut self, elements: usize) {
        let capacity = match &self.values {
            Values::Real(values) => values.len() - self.start,
            Values::Index(values) => values.len(),
            Values::Byte(values) => values.len(),
        };
        assert!(elements <= capacity, "{elements} elements in memory for {capacity}");
        self.elements = elements;
    }

    /// What its elements are: reals, though a device may hold them as halves.
    pub fn element(&self) -> Element {
        match self.values {
            Values::Real(_) => Element::Real,
            Values::Index(_) => Element::Index,
            Values::Byte(_) => Element::Byte,
        }
    }

    /// The real numbers.
    pub fn reals(&self) -> &[T] {
        match &self.values {
            Values::Real(values) => &values[self.start..][..self.elements],
            _ => panic!("expected reals, found {:?} elements", self.element()),
        }
    }

    /// Converts the buffer into its real numbers.
    pub fn into_reals(self) -> Vec<T> {
        match self.values {
            Values::Real(mut values) => {
                values.truncate(self.start + self.elements);
                values.drain(..self.start);
                values
            }
            _ => panic!("expected reals, found {:?} elements", self.element()),
        }
    }

    /// The real numbers, for writing.
    pub fn reals_mut(&mut self) -> &mut [T] {
        match &mut self.values {
            Values::Real(values) => &mut values[self.start..][..self.elements],
            _ => panic!("expected reals, found other elements"),
        }
    }

    /// The indices.
    pub fn indices(&self) -> &[u32] {
        match &self.values {
            Values::Index(values) => &values[..self.elements],
            _ => panic!("expected indices, found {:?} elements", self.element()),
        }
    }

    /// The indices, for writing.
    pub fn indices_mut(&mut self) -> &mut [u32] {
        match &mut self.values {
            Values::Index(values) => &mut values[..self.elements],
            _ => panic!("expected indices, found other elements"),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.values {
            Values::Byte(values) => &values[..self.elements],
            _ => panic!("expected bytes, found {:?} elements", self.element()),
        }
    }

    /// Copies the values of `other`, with reals converted by `convert`, into this buffer's memory; bytes are shared.
    pub fn assign<U>(&mut self, other: &HostBuffer<U>, convert: impl Fn(&U) -> T) {
        self.resize_within(other.len());
        match (&mut self.values, &other.values) {
            (Values::Real(to), Values::Real(_)) => {
                for (to, from) in to[self.start..].iter_mut().zip(other.reals()) {
                    *to = convert(from);
                }
            }
            (Values::Index(to), Values::Index(_)) => to[..other.len()].copy_from_slice(other.indices()),
            (Values::Byte(to), Values::Byte(from)) if from.len() >= to.len() => *to = from.clone(),
            (Values::Byte(to), Values::Byte(_)) => {
                Arc::make_mut(to)[..other.len()].copy_from_slice(other.bytes());
            }
            _ => panic!("expected {:?} elements, found {:?}", self.element(), other.element()),
        }
    }

    /// The same values with reals converted by `convert`.
    pub fn map_reals<U>(&self, convert: impl Fn(&T) -> U) -> HostBuffer<U> {
        self.try_map_reals("a buffer", convert).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`HostBuffer::map_reals`], but with an error instead of a panic.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) if there is too little memory for `what`.
    pub fn try_map_reals<U>(&self, what: &str, convert: impl Fn(&T) -> U) -> Result<HostBuffer<U>> {
        fn mapped<V, U>(what: &str, values: &[V], convert: impl Fn(&V) -> U) -> Result<Vec<U>> {
            let mut result = host_memory::reserved(what, values.len(), ADVICE)?;
            result.extend(values.iter().map(convert));
            Ok(result)
        }
        Ok(match self.element() {
            Element::Real | Element::Half => HostBuffer::real(mapped(what, self.reals(), convert)?),
            Element::Index => HostBuffer::index(mapped(what, self.indices(), |&index| index)?),
            Element::Byte => HostBuffer::byte(mapped(what, self.bytes(), |&byte| byte)?),
        })
    }
}

/// The buffers of one operation's operands, in the order of [`Op::operands`].
#[derive(Debug)]
pub struct Operands<T> {
    buffers: Vec<HostBuffer<T>>,
}

impl<T> Operands<T> {
    /// The operands with these buffers.
    pub fn new(buffers: Vec<HostBuffer<T>>) -> Self {
        Operands { buffers }
    }

    /// All buffers at once, so that each can be borrowed separately.
    ///
    /// # Panics
    /// If the operation has another number of operands: a bug in the operation.
    pub fn all<const N: usize>(&mut self) -> &mut [HostBuffer<T>; N] {
        let found = self.buffers.len();
        self.buffers
            .as_mut_slice()
            .try_into()
            .unwrap_or_else(|_| panic!("expected {N} operands, found {found}"))
    }

    /// All buffers, for operations with a variable number of operands.
    pub fn as_mut_slice(&mut self) -> &mut [HostBuffer<T>] {
        &mut self.buffers
    }

    /// The first `N` buffers, and those that come after them.
    ///
    /// # Panics
    /// If the operation has fewer than `N` operands: a bug in the operation.
    pub fn split<const N: usize>(&mut self) -> (&mut [HostBuffer<T>; N], &mut [HostBuffer<T>]) {
        let found = self.buffers.len();
        self.buffers
            .split_first_chunk_mut()
            .unwrap_or_else(|| panic!("expected {N} operands or more, found {found}"))
    }

    /// Calls `work` with the buffers of these numbers as the operands of another operation.
    ///
    /// # Panics
    /// If a number comes twice.
    pub fn with(&mut self, numbers: &[usize], work: impl FnOnce(&mut Operands<T>)) {
        let mut some =
            Operands::new(numbers.iter().map(|&number| mem::take(&mut self.buffers[number])).collect());
        work(&mut some);
        for (&number, buffer) in numbers.iter().zip(some.buffers) {
            let taken = mem::replace(&mut self.buffers[number], buffer);
            assert!(taken.is_empty(), "operand {number} is bound twice");
        }
    }

    /// Takes the buffers back.
    pub fn into_buffers(self) -> Vec<HostBuffer<T>> {
        self.buffers
    }
}
