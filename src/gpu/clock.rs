//! The duration of runs: by the device's timestamps if they are plausible, otherwise by the host's clock.

use std::time::{Duration, Instant};

use super::context::Context;
use super::submission::Dispatch;
use super::timestamps::Timestamps;
use crate::Result;
use crate::device::DeviceKind;
use crate::plan::TimedBy;

/// A GPU that was idle for longer than this may have slowed down.
const LONGEST_PAUSE: Duration = Duration::from_millis(300);

/// How long a GPU is kept busy before it is timed, if it was idle: one that has slowed down takes about 0.3 seconds to come
/// back to its rate.
const WAKING: Duration = Duration::from_millis(400);

/// Duration of a submission of a device that wakes, unless one run takes longer.
const WAKING_RUN: Duration = Duration::from_millis(5);

/// Most runs in it.
const MOST_WAKING_RUNS: f64 = 1000.0;

/// The clock that times runs: the device's timestamps if they are plausible, otherwise the host's clock.
#[derive(Debug)]
pub struct Clock {
    timestamps: Option<Timestamps>,
    /// When the device was last seen at work.
    last_busy: Option<Instant>,
}

impl Clock {
    pub fn new(context: &Context) -> Self {
        let has_timestamps = context.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        Clock { timestamps: has_timestamps.then(|| Timestamps::new(context)), last_busy: None }
    }

    /// The clock of the next measurement.
    pub fn timed_by(&self) -> TimedBy {
        if self.timestamps.is_some() { TimedBy::GpuTimestamps } else { TimedBy::HostClock }
    }

    /// Runs `dispatches`, `times` times over, and waits; returns the time from the first launch to the end of the
    /// last. A GPU that was idle runs them before that for some 0.4 seconds, until it has its full rate again.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed.
    pub fn measure(&mut self, context: &Context, dispatches: &[Dispatch], times: usize) -> Result<Duration> {
        if dispatches.is_empty() || times == 0 {
            return Ok(Duration::ZERO);
        }
        // Earlier work must not be counted.
        context.wait()?;
        self.wake(context, dispatches)?;
        let start = Instant::now();
        context.submit(dispatches, times, self.timestamps.as_ref())?;
        context.wait()?;
        let on_host = start.elapsed();
        self.last_busy = Some(Instant::now());
        let Some(timestamps) = &self.timestamps else { return Ok(on_host) };
        match between(timestamps.read(context)?, timestamps.period, on_host) {
            Some(on_device) => Ok(on_device),
            None => {
                // Measurements by two clocks cannot be compared: from here on, only the host's clock is used.
                self.timestamps = None;
                Ok(on_host)
            }
        }
    }

    fn wake(&self, context: &Context, dispatches: &[Dispatch]) -> Result<()> {
        let is_awake = self.last_busy.is_some_and(|last| last.elapsed() < LONGEST_PAUSE);
        if is_awake || context.profile.kind == DeviceKind::Software {
            return Ok(());
        }
        let (start, mut times) = (Instant::now(), 1);
        while start.elapsed() < WAKING {
            let submitted = Instant::now();
            context.submit(dispatches, times, None)?;
            context.wait()?;
            let once = submitted.elapsed().as_secs_f64() / times as f64;
            times = (WAKING_RUN.as_secs_f64() / once).clamp(1.0, MOST_WAKING_RUNS) as usize;
        }
        Ok(())
    }
}

/// The time between two timestamps; `None` if the driver's timestamps are implausible: zero, not advancing,
/// decreasing, or spanning a longer time than the host waited.
fn between([begin, end]: [u64; 2], period: f64, on_host: Duration) -> Option<Duration> {
    if begin == 0 || end <= begin {
        return None;
    }
    let on_device = Duration::try_from_secs_f64((end - begin) as f64 * period * 1e-9).ok()?;
    // No two clocks run at exactly the same rate.
    let is_within = on_device <= on_host.mul_f64(1.001);
    (is_within && !on_device.is_zero()).then_some(on_device.min(on_host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_timestamps_are_told_from_sound_ones() {
        let host = Duration::from_millis(1);
        let nanoseconds = |ticks, period| between(ticks, period, host).map(|time| time.as_nanos());
        assert_eq!(nanoseconds([5, 105], 10.0), Some(1_000));
        assert_eq!(nanoseconds([1, 1_000_001], 1.0), Some(1_000_000));
        assert_eq!(nanoseconds([1, 1_000_500], 1.0), Some(1_000_000), "a clock that is a little fast");
        for (ticks, period, what) in [
            ([0, 0], 1.0, "both are zero"),
            ([0, 100], 1.0, "the first is zero"),
            ([7, 7], 1.0, "equal"),
            ([8, 7], 1.0, "decreasing"),
            ([7, 0], 1.0, "the second is zero"),
            ([1, 1_010_000], 1.0, "longer than the host waited"),
            ([1, u64::MAX], 1.0, "far longer"),
            ([1, u64::MAX], f64::INFINITY, "no period"),
            ([1, 2], f64::NAN, "no period"),
            ([1, 2], 0.0, "a clock without a period"),
        ] {
            assert_eq!(nanoseconds(ticks, period), None, "{what}");
        }
    }
}
