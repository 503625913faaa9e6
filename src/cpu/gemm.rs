//! Matrix products on one core, through the `gemm` crate (AVX-512, AVX2 or NEON, found at run time).

/// A matrix for reading: a slice, a row stride and a column stride.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A matrix for writing.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows follow one another without gaps.
    pub fn row_major(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::columns(data, rows, columns, 0, columns)
    }

    /// Columns `first..first + columns` of a row-major matrix with rows of `width` elements.
    pub fn columns(data: &'a [f32], rows: usize, width: usize, first: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * width, "a matrix of {rows} x {width}");
        assert!(first + columns <= width, "columns {first} + {columns} of {width}");
        Matrix { data: &data[first.min(data.len())..], rows, columns, row_stride: width, column_stride: 1 }
    }

    /// The transpose, as a view: no data is moved.
    pub fn transposed(self) -> Self {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

impl<'a> MatrixMut<'a> {
    /// A matrix whose rows follow one another without gaps.
    pub fn row_major(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        Self::columns(data, rows, columns, 0, columns)
    }

    /// Columns `first..first + columns` of a row-major matrix with rows of `width` elements.
    pub fn columns(data: &'a mut [f32], rows: usize, width: usize, first: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * width, "a matrix of {rows} x {width}");
        assert!(first + columns <= width, "columns {first} + {columns} of {width}");
        let first = first.min(data.len());
        MatrixMut { data: &mut data[first..], rows, columns, row_stride: width }
    }
}

/// `result = a * b`, or `result += a * b` with `accumulate`, on the calling thread.
///
/// # Panics
/// If the sizes do not fit each other: a bug of the caller.
pub fn multiply(result: MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>, accumulate: bool) {
    assert_eq!((result.rows, result.columns), (a.rows, b.columns), "sizes of a product");
    assert_eq!(a.columns, b.rows, "length of the sums of a product");
    // SAFETY: `gemm` takes raw pointers and strides. The constructors check that every element lies within its slice,
    // transposing only exchanges the strides, and `result` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            result.rows,
            result.columns,
            a.columns,
            result.data.as_mut_ptr(),
            1,
            result.row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_parts_and_transposes_are_exact_on_integers() {
        let a: Vec<f32> = (0..12).map(|v| v as f32).collect(); // 3 x 4
        let b: Vec<f32> = (0..8).map(|v| (v % 3) as f32).collect(); // 2 x 4
        let mut result = vec![1.0; 9]; // 3 x 3, of which the last two columns are written
        let product = MatrixMut::columns(&mut result, 3, 3, 1, 2);
        multiply(product, Matrix::row_major(&a, 3, 4), Matrix::row_major(&b, 2, 4).transposed(), true);
        for row in 0..3 {
            assert_eq!(result[row * 3], 1.0);
            for column in 0..2 {
                let sum: f32 = (0..4).map(|k| a[row * 4 + k] * b[column * 4 + k]).sum();
                assert_eq!(result[row * 3 + 1 + column], 1.0 + sum);
            }
        }
    }
}
