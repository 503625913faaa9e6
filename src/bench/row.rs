//! One row of a benchmark: one implementation of a pass of a convolution.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::rotation::copies;
use super::timing::{geometric_mean, time_op};
use super::{BenchDevice, Ceilings, ConvCase, Pass, Roof, Timing};
use crate::Result;
use crate::ops::Element;
use crate::plan::{ChosenBy, TimedBy};
use crate::verify::{Data, Trial};

/// Operations of the longest definition that is run; longer ones take minutes.
const LONGEST_DEFINITION: u64 = 3_000_000_000;

/// A request for one row.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Position of the convolution in its list, which may hold the same one twice.
    pub number: usize,
    /// The convolution.
    pub case: &'a ConvCase,
    /// Its pass.
    pub pass: Pass,
    /// Name of the implementation.
    pub implementation: &'static str,
    /// How it was chosen.
    pub chosen_by: ChosenBy,
    /// Minimum time to spend.
    pub budget: Duration,
    /// Whether every run reads the same inputs, which may then be in a cache.
    pub warm_cache: bool,
}

/// Whether an answer matches the definition's.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// It does, within the precision of f32; with the largest difference.
    Passed(f64),
    /// It does not.
    Failed(String),
    /// The definition would take too long, or more memory than is available.
    Skipped,
}

impl Status {
    /// `PASSED`, `FAILED` or `SKIPPED`.
    pub fn name(&self) -> &'static str {
        match self {
            Status::Passed(_) => "PASSED",
            Status::Failed(_) => "FAILED",
            Status::Skipped => "SKIPPED",
        }
    }
}

/// A row: what was timed, and the results.
#[derive(Clone, Debug)]
pub struct Row {
    /// Position of the convolution in its list.
    pub number: usize,
    /// The convolution.
    pub case: ConvCase,
    /// Its pass.
    pub pass: Pass,
    /// Name of the implementation.
    pub implementation: &'static str,
    /// Whether every run read the same inputs.
    pub warm_cache: bool,
    /// Number of copies of the inputs that runs read in turn.
    pub input_copies: usize,
    /// How it was chosen.
    pub chosen_by: ChosenBy,
    /// Time of one run.
    pub timing: Timing,
    /// The clock that was used.
    pub timed_by: TimedBy,
    /// Floating-point operations per second, in billions.
    pub gflops: f64,
    /// Bytes per second, in billions, counting each operand once.
    pub gigabytes: f64,
    /// The least possible time by the device's ceilings, divided by the time taken. It can exceed 1 if operands stay
    /// in a cache, or if an algorithm needs fewer operations than the definition.
    pub share: f64,
    /// The ceiling that limits this work.
    pub roof: Roof,
}

impl Request<'_> {
    /// The same request for the implementation that the device chooses, unless one was requested by name.
    pub fn for_device(self, device: &mut BenchDevice) -> Self {
        if self.chosen_by == ChosenBy::Flag {
            return self;
        }
        let (implementation, chosen_by) = device.executor().choose(self.pass.op(self.case.geometry).as_ref());
        Request { implementation, chosen_by, ..self }
    }

    /// Compares the answer with the definition's, on real numbers.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed; [`Error::Memory`](crate::Error::Memory) when
    /// the definition needs more than the host has.
    pub fn verify(&self, device: &mut BenchDevice) -> Result<Status> {
        let op = self.pass.op(self.case.geometry);
        if op.flops() > LONGEST_DEFINITION {
            return Ok(Status::Skipped);
        }
        Trial::check(op.as_ref())?;
        let trial = Trial::new(op, Data::Reals, 1).expect("every operation works on reals");
        Ok(match trial.run_as(device.executor(), self.implementation)? {
            Ok(difference) => Status::Passed(difference),
            Err(mismatch) => Status::Failed(mismatch.to_string()),
        })
    }

    /// Times the implementation.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed, or has too little memory;
    /// [`Error::Memory`](crate::Error::Memory) when the host has too little.
    pub fn time(&self, device: &mut BenchDevice, ceilings: &Ceilings) -> Result<Row> {
        let op = self.pass.op(self.case.geometry);
        let flops = op.flops();
        let bytes = op.operands().iter().map(|operand| Element::Real.bytes(operand.shape.elements())).sum();
        let cache_bytes = if self.warm_cache { 0 } else { device.cache_bytes() };
        let input_copies = copies(op.as_ref(), cache_bytes);
        device.executor().prefer(self.implementation);
        let op = || self.pass.op(self.case.geometry);
        let timing = time_op(device.executor(), &op, input_copies, self.budget)?;
        let (least, roof) = ceilings.roof(flops, bytes);
        Ok(Row {
            number: self.number,
            case: self.case.clone(),
            pass: self.pass,
            implementation: self.implementation,
            warm_cache: self.warm_cache,
            input_copies,
            chosen_by: self.chosen_by,
            timing,
            timed_by: device.executor().timed_by(),
            gflops: flops as f64 / timing.median / 1e6,
            gigabytes: bytes as f64 / timing.median / 1e6,
            share: least / timing.median,
            roof,
        })
    }
}

impl Row {
    /// The row as an object, with the sizes under their names in files of cases.
    pub fn to_json(&self) -> Map<String, Value> {
        let object = json!({
            "name": self.case.name,
            "case": self.case.sizes,
            "pass": self.pass.name(),
            "implementation": self.implementation,
            "chosen_by": self.chosen_by,
            "timed_by": self.timed_by.to_string(),
            "dtype": "f32",
            "warm_cache": self.warm_cache,
            "input_copies": self.input_copies,
            "ms": self.timing.median,
            "ms_quartiles": self.timing.quartiles,
            "gflops": self.gflops,
            "gigabytes_per_s": self.gigabytes,
            "share_of_roofline": self.share,
            "roof": self.roof.name(),
        });
        object.as_object().cloned().expect("an object, as written above")
    }
}

/// A summary of all rows of a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The pass.
    pub pass: Pass,
    /// Number of convolutions.
    pub cases: usize,
    /// Geometric mean of GFLOP/s.
    pub gflops: f64,
    /// Geometric mean of the shares of the roofline.
    pub share: f64,
    /// Sum of the medians.
    pub milliseconds: f64,
}

/// One summary per pass; of several implementations of a convolution, the fastest counts.
pub fn summaries(rows: &[Row]) -> Vec<Summary> {
    let summary = |pass: Pass| {
        let mut fastest: BTreeMap<usize, &Row> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.pass == pass) {
            let best = fastest.entry(row.number).or_insert(row);
            if row.timing.median < best.timing.median {
                *best = row;
            }
        }
        Some(Summary {
            pass,
            cases: fastest.len(),
            gflops: geometric_mean(fastest.values().map(|row| row.gflops))?,
            share: geometric_mean(fastest.values().map(|row| row.share))?,
            milliseconds: fastest.values().map(|row| row.timing.median).sum(),
        })
    };
    Pass::ALL.into_iter().filter_map(summary).collect()
}
