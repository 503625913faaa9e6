//! Shapes, and tensors in host memory.

use std::fmt;

use crate::{Error, Result, host_memory};

/// What needs less memory, for the message when there is too little.
const ADVICE: &str = "a smaller tensor";

/// Sizes of a tensor's axes, outermost first; the last axis is contiguous in memory.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The largest number of elements of one tensor: kernels index with 32 bits.
    pub const MAX_ELEMENTS: usize = i32::MAX as usize;

    /// A shape whose element count is known to fit; see [`Shape::checked`] for sizes from outside.
    ///
    /// # Panics
    /// When the number of elements exceeds [`Shape::MAX_ELEMENTS`].
    pub fn new(sizes: impl Into<Vec<usize>>) -> Self {
        Self::checked("shape", sizes).expect("element count checked by the caller")
    }

    /// A shape from sizes that are not checked yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the product of the sizes exceeds [`Shape::MAX_ELEMENTS`].
    pub fn checked(operation: &str, sizes: impl Into<Vec<usize>>) -> Result<Self> {
        let shape = Shape(sizes.into());
        let elements = shape.0.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        match elements {
            Some(elements) if elements <= Self::MAX_ELEMENTS => Ok(shape),
            _ => Err(Error::invalid(operation, "a tensor of fewer than 2^31 elements", format!("{shape}"))),
        }
    }

    /// Sizes of the axes, outermost first.
    pub fn sizes(&self) -> &[usize] {
        &self.0
    }

    /// Number of elements: the product of the sizes.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// Size of axis `axis`.
    pub fn size(&self, axis: usize) -> usize {
        self.0[axis]
    }
}

/// The position along each axis of the element at `index` in the memory of a tensor of these sizes.
#[inline]
pub fn position<const N: usize>(sizes: [usize; N], index: usize) -> [usize; N] {
    let mut position = [0; N];
    let mut rest = index;
    for axis in (0..N).rev() {
        (position[axis], rest) = (rest % sizes[axis], rest / sizes[axis]);
    }
    position
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Self {
        Shape::new(sizes.to_vec())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        for (axis, size) in self.0.iter().enumerate() {
            write!(f, "{}{size}", if axis == 0 { "" } else { ", " })?;
        }
        write!(f, "]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Size of one image, or of one sample's feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Colours or features at one position.
    pub channels: usize,
}

impl ImageShape {
    /// Number of values of one image.
    pub fn elements(&self) -> usize {
        self.height * self.width * self.channels
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.height, self.width, self.channels)
    }
}

/// A dense row-major tensor of f32 in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Shape,
    data: Vec<f32>,
}

impl Tensor {
    /// A tensor of `shape` over `data`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `data` does not hold exactly one value per element.
    pub fn new(shape: impl Into<Shape>, data: Vec<f32>) -> Result<Self> {
        let shape = shape.into();
        if shape.elements() != data.len() {
            return Err(Error::invalid(
                "tensor",
                format!("{} values for shape {shape}", shape.elements()),
                data.len(),
            ));
        }
        Ok(Tensor { shape, data })
    }

    /// A tensor filled with zeros.
    pub fn zeros(shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let data = vec![0.0; shape.elements()];
        Tensor { shape, data }
    }

    /// A copy of the tensor, with an error if memory is short.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is too little memory.
    pub fn try_clone(&self) -> Result<Self> {
        let mut data = host_memory::reserved("a tensor", self.data.len(), ADVICE)?;
        data.extend_from_slice(&self.data);
        Ok(Tensor { shape: self.shape.clone(), data })
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The values, last axis fastest.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The values, for changing them in place.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The values, consuming the tensor.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// The same values in another shape.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `shape` has a different number of elements.
    pub fn reshaped(self, shape: impl Into<Shape>) -> Result<Tensor> {
        Tensor::new(shape, self.data)
    }

    /// The tensor with its axes reordered: axis `i` of the result is axis `order[i]` of this one.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is too little memory.
    ///
    /// # Panics
    /// When `order` is not a permutation of this tensor's axes.
    pub fn permuted(&self, order: &[usize]) -> Result<Tensor> {
        let axes = self.shape.sizes().len();
        let mut seen = order.to_vec();
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..axes), "{order:?} is no permutation of {axes} axes");
        let mut strides = vec![1; axes];
        for axis in (1..axes).rev() {
            strides[axis - 1] = strides[axis] * self.shape.size(axis);
        }
        let sizes: Vec<usize> = order.iter().map(|&axis| self.shape.size(axis)).collect();
        let mut index = vec![0; axes];
        let mut data = host_memory::reserved("a tensor", self.data.len(), ADVICE)?;
        for _ in 0..self.data.len() {
            data.push(self.data[index.iter().zip(order).map(|(&i, &axis)| i * strides[axis]).sum::<usize>()]);
            for axis in (0..axes).rev() {
                index[axis] += 1;
                if index[axis] < sizes[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(Tensor { shape: Shape::new(sizes), data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permuting_moves_channels_last_and_back() {
        let nchw = Tensor::new([1, 2, 2, 3], (0..12).map(|v| v as f32).collect()).unwrap();
        let nhwc = nchw.permuted(&[0, 2, 3, 1]).unwrap();
        assert_eq!(nhwc.shape(), &Shape::from([1, 2, 3, 2]));
        assert_eq!(nhwc.data()[..4], [0.0, 6.0, 1.0, 7.0]);
        assert_eq!(nhwc.permuted(&[0, 3, 1, 2]).unwrap(), nchw);
    }

    #[test]
    fn too_many_elements_are_refused_without_overflow() {
        for sizes in [vec![1 << 31], vec![usize::MAX, usize::MAX], vec![1 << 16, 1 << 16]] {
            assert!(Shape::checked("test", sizes).is_err());
        }
    }
}
