//! On the CPU: processing several rows at a time, so that loops over the channels are long even with few channels.

/// The smallest number of elements of rows that a loop processes at a time.
const LOOP_ELEMENTS: usize = 512;

/// Number of elements of rows that a loop processes at a time; per-channel values have to be repeated to this length.
pub fn loop_elements(channels: usize) -> usize {
    channels * LOOP_ELEMENTS.div_ceil(channels)
}

/// Fills `repeated` with repetitions of the values of the channels.
pub fn repeat(values: impl Iterator<Item = f32> + Clone, repeated: &mut [f32]) {
    for (repeated, value) in repeated.iter_mut().zip(values.cycle()) {
        *repeated = value;
    }
}

/// Adds the sums of all repetitions of each channel.
pub fn add_up(repeated: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for part in repeated.chunks_exact(sums.len()) {
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += part;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_repeated_and_added_up_by_their_places() {
        for channels in [1, 3, 64, 700] {
            let mut repeated = vec![0.0; loop_elements(channels)];
            assert!(repeated.len() >= LOOP_ELEMENTS && repeated.len().is_multiple_of(channels));
            repeat((0..channels).map(|c| c as f32), &mut repeated);
            let mut sums = vec![f32::NAN; channels];
            add_up(&repeated, &mut sums);
            let times = repeated.len() / channels;
            assert!(sums.iter().enumerate().all(|(c, &sum)| sum == (c * times) as f32), "{channels}");
        }
    }
}
