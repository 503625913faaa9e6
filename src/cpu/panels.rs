//! Matrix products of which one factor is packed and the other is read in place, as rows made of runs of values.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::short_runs::{OVERLAPPING, SHORT_RUN, SHORT_RUN_ROWS, add_runs};
use super::simd::{for_tile, lanes_for, load, most_rows, put_rows, vectorized_by};

/// The largest depth of a panel that is processed at a time: 2048 rows of two vectors are 256 KiB, which fit in a
/// core's second-level cache.
const MOST_DEPTH: usize = 2048;

/// The packed layout of a matrix `[depth, columns]`: panels of columns, each two vectors wide; the last panel is one
/// vector wide if that is enough. A panel is stored row after row, each row padded with zeros to the panel's width.
#[derive(Clone, Copy, Debug)]
pub struct Panels {
    /// Number of terms of each sum: the rows of the matrix.
    pub depth: usize,
    /// Columns of the result.
    pub columns: usize,
    lanes: usize,
}

impl Panels {
    /// The panels for a matrix of this size.
    pub fn new(depth: usize, columns: usize) -> Self {
        Panels { depth, columns, lanes: lanes_for(columns) }
    }

    /// Number of panels.
    pub fn count(&self) -> usize {
        self.columns.div_ceil(2 * self.lanes)
    }

    /// Number of packed elements, padding included.
    pub fn elements(&self) -> usize {
        self.columns.next_multiple_of(self.lanes) * self.depth
    }

    /// The columns of a panel.
    pub fn columns_of(&self, panel: usize) -> Range<usize> {
        let first = panel * 2 * self.lanes;
        first..self.columns.min(first + 2 * self.lanes)
    }

    /// Distance from one panel to the next, in elements.
    pub fn stride(&self) -> usize {
        2 * self.lanes * self.depth
    }

    /// Elements of a row of a panel, padding included.
    pub fn width(&self, panel: usize) -> usize {
        self.columns_of(panel).len().next_multiple_of(self.lanes)
    }

    /// The range of a panel within the packed elements.
    pub fn place(&self, panel: usize) -> Range<usize> {
        let first = panel * self.stride();
        first..first + self.width(panel) * self.depth
    }

    /// Packs a panel from a matrix whose column `c` is `values[c*depth..][..depth]`, which is the layout of filters and
    /// weights.
    pub fn pack_from_columns(&self, panel: usize, values: &[f32], packed: &mut [f32]) {
        // Values of each column that are copied at a time: few enough that their cache lines stay in the first-level
        // cache.
        const BLOCK: usize = 16;
        let (columns, width) = (self.columns_of(panel), self.width(panel));
        for first in (0..self.depth).step_by(BLOCK) {
            let rows = BLOCK.min(self.depth - first);
            let packed = &mut packed[first * width..][..rows * width];
            if columns.len() < width {
                packed.fill(0.0);
            }
            for (column, values) in values[columns.start * self.depth..columns.end * self.depth]
                .chunks_exact(self.depth)
                .enumerate()
            {
                for (row, value) in values[first..first + rows].iter().enumerate() {
                    packed[row * width + column] = *value;
                }
            }
        }
    }

    /// Packs a panel from rows: `row(d)` returns the matrix's row `d`.
    pub fn pack_from_rows<'a>(&self, panel: usize, row: impl Fn(usize) -> &'a [f32], packed: &mut [f32]) {
        let columns = self.columns_of(panel);
        for (depth, packed) in packed.chunks_exact_mut(self.width(panel)).enumerate() {
            let (values, rest) = packed.split_at_mut(columns.len());
            values.copy_from_slice(&row(depth)[columns.clone()]);
            rest.fill(0.0);
        }
    }
}

/// Regularly spaced rows of a product, and the runs of values that each row of the source consists of. All steps are in
/// elements.
///
/// `result[row][column] = sum over runs and i of source[row + run + i] * matrix[depth][column]`, where `depth` counts
/// the values of all runs.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Number of rows, down and across.
    pub counts: [usize; 2],
    /// Steps from row to row in the source, down and across.
    pub source_steps: [usize; 2],
    /// Steps from row to row in the result, down and across.
    pub result_steps: [usize; 2],
    /// Number of runs in a row, down and across.
    pub runs: [usize; 2],
    /// Steps from run to run in the source, down and across.
    pub run_steps: [usize; 2],
    /// Number of values in a run.
    pub run_length: usize,
    /// Describes which runs down hold only zeros, so that they can be skipped; `None` if all runs are summed.
    pub bounds: Option<Bounds>,
}

/// The positions of rows and runs along one axis of a source: run `r` of row `i` is at position `first + i*row_step +
/// r*run_step`, and all its values are zero if that is outside the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Position of the first run of the first row.
    pub first: isize,
    /// Distance from row to row, in positions.
    pub row_step: usize,
    /// Distance from run to run, in positions.
    pub run_step: usize,
    /// Number of positions of the source.
    pub positions: usize,
}

impl Bounds {
    /// The position of a run of a row, which may be outside the source.
    #[inline(always)]
    pub fn position(&self, row: usize, run: usize) -> isize {
        self.first + (row * self.row_step + run * self.run_step) as isize
    }

    /// The range of a row's runs that lie inside the source; the row has `runs` runs.
    pub fn runs_inside(&self, row: usize, runs: usize) -> Range<usize> {
        let first = self.position(row, 0);
        let before = |position: usize| {
            let distance = (position as isize - first).max(0) as usize;
            // Most steps are 1, and a division takes longer than all else here.
            let before = if self.run_step == 1 { distance } else { distance.div_ceil(self.run_step) };
            before.min(runs)
        };
        before(0)..before(self.positions)
    }
}

impl Rows {
    /// The same rows in as few lines as possible: if all rows are equally spaced, or there is only one across, they
    /// become one line.
    pub fn merged(self) -> Self {
        let Rows { counts, source_steps, result_steps, .. } = self;
        let goes_on = |steps: [usize; 2]| steps[0] == counts[1] * steps[1];
        if counts[1] == 1 {
            let swapped = |[down, across]: [usize; 2]| [across, down];
            Rows {
                counts: swapped(counts),
                source_steps: swapped(source_steps),
                result_steps: swapped(result_steps),
                bounds: None,
                ..self
            }
        } else if goes_on(source_steps) && goes_on(result_steps) {
            Rows { counts: [1, counts[0] * counts[1]], bounds: None, ..self }
        } else {
            self
        }
    }

    /// Multiplies the rows by the matrix `packed`, whose layout is `panels`, on the calling thread. The first row of
    /// the result starts at `result[0]`, and elements between the rows are left unchanged.
    ///
    /// # Panics
    /// If the sizes do not fit each other: a bug of the caller.
    pub fn multiply(&self, source: &[f32], panels: &Panels, packed: &[f32], result: &mut [f32]) {
        for panel in 0..panels.count() {
            self.multiply_panel(source, panels, panel, &packed[panels.place(panel)], result);
        }
    }

    /// As [`Rows::multiply`], for the columns of one panel: `packed` holds only that panel.
    ///
    /// # Panics
    /// As [`Rows::multiply`].
    pub fn multiply_panel(
        &self,
        source: &[f32],
        panels: &Panels,
        panel: usize,
        packed: &[f32],
        result: &mut [f32],
    ) {
        assert_eq!(self.runs[0] * self.runs[1] * self.run_length, panels.depth, "length of the sums");
        let (columns, width) = (panels.columns_of(panel), panels.width(panel));
        for part in self.parts() {
            let packed = &packed[part.depth * width..];
            let result = &mut result[columns.start..];
            let (columns, vectors) = (columns.len(), width / panels.lanes);
            vectorized_by(
                panels.lanes,
                PanelProduct { rows: self, part, source, packed, vectors, result, columns },
            );
        }
    }

    /// The parts of the depth that are processed one after another: whole runs, or pieces of one run.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let runs = self.runs[0] * self.runs[1];
        let together = (MOST_DEPTH / self.run_length.max(1)).clamp(1, runs.max(1));
        let length = self.run_length;
        (0..runs).step_by(together).flat_map(move |first_run| {
            (0..length).step_by(MOST_DEPTH).map(move |start| Part {
                first_run,
                runs: together.min(runs - first_run),
                start,
                length: MOST_DEPTH.min(length - start),
                depth: first_run * length + start,
            })
        })
    }
}

impl Part {
    /// Whether it consists of whole lines of so many runs.
    fn is_of_lines(&self, runs: usize) -> bool {
        self.first_run.is_multiple_of(runs) && self.runs.is_multiple_of(runs)
    }

    /// The part without the runs outside `inside`.
    fn within(self, inside: Range<usize>) -> Self {
        let first_run = self.first_run.max(inside.start);
        let runs = (self.first_run + self.runs).min(inside.end).saturating_sub(first_run);
        Part { first_run, runs, ..self }
    }
}

/// A part of the depth: the values `start..start + length` of `runs` runs, from `first_run` on.
#[derive(Clone, Copy, Debug)]
struct Part {
    first_run: usize,
    runs: usize,
    start: usize,
    length: usize,
    depth: usize,
}

/// The product of all rows and one panel, for a part of the depth.
struct PanelProduct<'a> {
    rows: &'a Rows,
    part: Part,
    source: &'a [f32],
    packed: &'a [f32],
    vectors: usize,
    result: &'a mut [f32],
    columns: usize,
}

impl WithSimd for PanelProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Rows { counts, source_steps, result_steps, runs, bounds, .. } = *self.rows;
        let is_short = self.vectors == 1 && self.part.length == SHORT_RUN && self.part.is_of_lines(runs[1]);
        let most = if is_short { SHORT_RUN_ROWS } else { most_rows::<S>(self.vectors) };
        let tiles = counts[1].div_ceil(most);
        let (whole, packed) = (self.part, self.packed);
        for down in 0..counts[0] {
            if let Some(bounds) = bounds {
                let inside = bounds.runs_inside(down, runs[0]);
                self.part = whole.within(inside.start * runs[1]..inside.end * runs[1]);
                let skipped = (self.part.first_run - whole.first_run).min(whole.runs) * whole.length;
                self.packed = &packed[skipped * self.vectors * S::F32_LANES..];
            }
            let mut first = 0;
            for tile in 0..tiles {
                let rows = (counts[1] - first).div_ceil(tiles - tile);
                let source = down * source_steps[0] + first * source_steps[1];
                let result = down * result_steps[0] + first * result_steps[1];
                match is_short {
                    true => for_tile!(rows, 1, short_tile_in::<S>(simd, &mut self, source, result)),
                    false => for_tile!(rows, self.vectors, tile_in::<S>(simd, &mut self, source, result)),
                }
                first += rows;
            }
        }
    }
}

/// Computes a tile, in a function of its own that is compiled for the vectors of `simd`.
#[inline(always)]
fn tile_in<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    product: &mut PanelProduct<'_>,
    source: usize,
    result: usize,
) {
    simd.vectorize(PanelTile::<ROWS, VECTORS> { product, source, result });
}

/// The product of `ROWS` rows and one panel, with the sums in registers.
struct PanelTile<'a, 'b, const ROWS: usize, const VECTORS: usize> {
    product: &'a mut PanelProduct<'b>,
    source: usize,
    result: usize,
}

impl<const ROWS: usize, const VECTORS: usize> WithSimd for PanelTile<'_, '_, ROWS, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let PanelProduct { rows, part, source, packed, result, columns, .. } = self.product;
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        let width = VECTORS * S::F32_LANES;
        let mut packed = *packed;
        let (mut down, mut across) = (part.first_run / rows.runs[1], part.first_run % rows.runs[1]);
        for _ in 0..part.runs {
            let run = self.source + part.start + down * rows.run_steps[0] + across * rows.run_steps[1];
            let values: [&[f32]; ROWS] =
                std::array::from_fn(|row| &source[run + row * rows.source_steps[1]..][..part.length]);
            let (now, later) = packed.split_at(part.length * width);
            packed = later;
            for i in 0..part.length {
                let packed = &now[i * width..][..width];
                let columns: [S::f32s; VECTORS] =
                    std::array::from_fn(|vector| load::<S>(&packed[vector * S::F32_LANES..]));
                for row in 0..ROWS {
                    let value = simd.splat_f32s(values[row][i]);
                    for vector in 0..VECTORS {
                        sums[row][vector] = simd.mul_add_e_f32s(value, columns[vector], sums[row][vector]);
                    }
                }
            }
            across += 1;
            if across == rows.runs[1] {
                (down, across) = (down + 1, 0);
            }
        }
        // A copy: if `sums` itself were indexed at run time, it would not stay in registers.
        let done = sums;
        let (step, columns) = (rows.result_steps[1], *columns);
        put_rows(simd, &mut result[self.result..], step, columns, &done, part.depth > 0);
    }
}

/// As [`tile_in`], for runs of [`SHORT_RUN`] values.
#[inline(always)]
fn short_tile_in<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    product: &mut PanelProduct<'_>,
    source: usize,
    result: usize,
) {
    simd.vectorize(ShortTile::<ROWS> { product, source, result });
}

/// The product of `ROWS` rows, made of lines of short runs, and a panel of one vector, with the sums in registers.
struct ShortTile<'a, 'b, const ROWS: usize> {
    product: &'a mut PanelProduct<'b>,
    source: usize,
    result: usize,
}

impl<const ROWS: usize> WithSimd for ShortTile<'_, '_, ROWS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let PanelProduct { rows, part, source, packed, result, columns, .. } = self.product;
        let (step, runs) = (rows.source_steps[1], rows.runs[1]);
        let mut sums = [[simd.splat_f32s(0.0)]; ROWS];
        let (first, count) = (part.first_run / runs, part.runs / runs);
        let matrices = packed.chunks_exact(runs * SHORT_RUN * S::F32_LANES);
        let lines = matrices.zip(first..first + count);
        if runs == OVERLAPPING && rows.run_steps[1] == step {
            for (matrix, line) in lines {
                let source = &source[self.source + line * rows.run_steps[0]..];
                add_runs::<S, ROWS, OVERLAPPING>(simd, source, step, matrix, &mut sums);
            }
        } else {
            for (matrix, line) in lines {
                for (run, matrix) in matrix.chunks_exact(SHORT_RUN * S::F32_LANES).enumerate() {
                    let source = &source[self.source + line * rows.run_steps[0] + run * rows.run_steps[1]..];
                    add_runs::<S, ROWS, 1>(simd, source, step, matrix, &mut sums);
                }
            }
        }
        // A copy: if `sums` itself were indexed at run time, it would not stay in registers.
        let done = sums;
        put_rows(simd, &mut result[self.result..], rows.result_steps[1], *columns, &done, part.depth > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product by its definition.
    fn expected(rows: &Rows, source: &[f32], matrix: &[f32], columns: usize, result: &mut [f32]) {
        for down in 0..rows.counts[0] {
            for across in 0..rows.counts[1] {
                let source_row = down * rows.source_steps[0] + across * rows.source_steps[1];
                let result_row = down * rows.result_steps[0] + across * rows.result_steps[1];
                for column in 0..columns {
                    let mut depth = 0;
                    result[result_row + column] = 0.0;
                    for run in 0..rows.runs[0] * rows.runs[1] {
                        let (r, s) = (run / rows.runs[1], run % rows.runs[1]);
                        let run = source_row + r * rows.run_steps[0] + s * rows.run_steps[1];
                        for i in 0..rows.run_length {
                            result[result_row + column] +=
                                source[run + i] * matrix[column * rows_depth(rows) + depth];
                            depth += 1;
                        }
                    }
                }
            }
        }
    }

    fn rows_depth(rows: &Rows) -> usize {
        rows.runs[0] * rows.runs[1] * rows.run_length
    }

    #[test]
    fn products_are_exact_on_integers_and_leave_the_gaps_alone() {
        // The last are of short runs, where neighbouring rows share their values and where they do not.
        for (counts, runs, run_step, run_length, columns) in [
            ([1, 1], [1, 1], 5, 1, 1),
            ([2, 5], [3, 1], 5, 7, 10),
            ([3, 31], [2, 3], 5, 4, 16),
            ([1, 29], [1, 1], 5, 5000, 33),
            ([2, 13], [5, 1], 5, 900, 70),
            ([2, 15], [3, 3], 3, SHORT_RUN, 8),
            ([1, 9], [2, 3], 5, SHORT_RUN, 8),
            ([2, 1], [1, 3], 3, SHORT_RUN, 5),
            ([1, 28], [2, 5], 3, SHORT_RUN, 16),
            ([1, 11], [300, 1], 3, SHORT_RUN, 7),
        ] {
            let rows = Rows {
                counts,
                source_steps: [11, 3],
                result_steps: [counts[1] * (columns + 2), columns + 2],
                runs,
                run_steps: [17, run_step],
                run_length,
                bounds: None,
            };
            let source: Vec<f32> = (0..20_000).map(|i| (i * i % 7) as f32 - 3.0).collect();
            let depth = rows_depth(&rows);
            let matrix: Vec<f32> = (0..columns * depth).map(|i| (i * 5 % 11) as f32 - 5.0).collect();
            let panels = Panels::new(depth, columns);
            let mut packed = vec![f32::NAN; panels.elements()];
            for panel in 0..panels.count() {
                panels.pack_from_columns(panel, &matrix, &mut packed[panels.place(panel)]);
            }
            let mut again = vec![f32::NAN; panels.elements()];
            let by_rows: Vec<Vec<f32>> = (0..depth)
                .map(|depth_at| (0..columns).map(|column| matrix[column * depth + depth_at]).collect())
                .collect();
            for panel in 0..panels.count() {
                panels.pack_from_rows(panel, |depth| &by_rows[depth], &mut again[panels.place(panel)]);
            }
            assert_eq!(packed, again);
            let mut found = vec![9.0; counts[0] * counts[1] * (columns + 2)];
            let mut right = found.clone();
            rows.multiply(&source, &panels, &packed, &mut found);
            expected(&rows, &source, &matrix, columns, &mut right);
            assert_eq!(found, right, "{rows:?}, {columns} columns");
        }
    }
}
