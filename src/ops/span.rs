//! Tensors that lie side by side in memory, so that a kernel can bind them all at once.

use std::ops::Range;

use crate::tensor::Shape;

/// Tensors that lie side by side start at multiples of this number of elements: 256 bytes, the largest alignment that a
/// GPU may require for a binding's offset.
pub const ALIGNMENT: usize = 64;

/// Number of elements that a tensor occupies beside others: its own, and zeros up to the place where the next may
/// start.
pub fn padded(elements: usize) -> usize {
    elements.max(1).next_multiple_of(ALIGNMENT)
}

/// Tensors that lie side by side in one piece of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The range of the tensors in this span.
    pub tensors: Range<usize>,
    /// The start of each tensor, in elements from the start of the span.
    pub offsets: Vec<usize>,
    /// Number of elements of the span, including the zeros after its last tensor: a multiple of [`ALIGNMENT`].
    pub elements: usize,
}

/// Places tensors of `sizes` 32-bit elements side by side, in their order, in as few spans of at most `most_bytes` each
/// as possible. A tensor that is larger than that has a span of its own.
pub fn side_by_side(sizes: &[usize], most_bytes: u64) -> Vec<Span> {
    // Kernels use 32-bit indices.
    let most = usize::try_from(most_bytes / 4).unwrap_or(usize::MAX).min(Shape::MAX_ELEMENTS);
    let mut spans: Vec<Span> = Vec::new();
    for (number, &size) in sizes.iter().enumerate() {
        match spans.last_mut().filter(|span| span.elements + padded(size) <= most) {
            Some(span) => {
                span.offsets.push(span.elements);
                span.elements += padded(size);
                span.tensors.end = number + 1;
            }
            None => {
                spans.push(Span { tensors: number..number + 1, offsets: vec![0], elements: padded(size) });
            }
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_begin_at_aligned_places_in_their_order() {
        let spans = side_by_side(&[1, 64, 65, 3], u64::MAX);
        assert_eq!(spans, [Span { tensors: 0..4, offsets: vec![0, 64, 128, 256], elements: 320 }]);
        assert_eq!(side_by_side(&[], u64::MAX), []);
    }

    #[test]
    fn spans_are_cut_between_tensors_where_one_would_be_too_large() {
        let bytes = 4 * 256;
        let cuts = |sizes: &[usize]| -> Vec<(Range<usize>, usize)> {
            let spans = side_by_side(sizes, bytes);
            spans.into_iter().map(|span| (span.tensors, span.elements)).collect()
        };
        assert_eq!(cuts(&[64, 64, 128]), [(0..3, 256)]);
        assert_eq!(cuts(&[64, 64, 129]), [(0..2, 128), (2..3, 192)]);
        assert_eq!(cuts(&[100, 1000, 1, 1]), [(0..1, 128), (1..2, 1024), (2..4, 128)]);
    }
}
