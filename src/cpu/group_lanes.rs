//! Vectors whose lanes are the channels of small groups.

use pulp::Simd;

/// A channel of groups of `SIZE` channels, of which a vector holds whole ones.
#[derive(Clone, Copy)]
pub(super) struct GroupChannel<S: Simd, const SIZE: usize> {
    channel: usize,
    /// Where each lane finds it.
    lanes: S::u32s,
}

impl<S: Simd, const SIZE: usize> GroupChannel<S, SIZE> {
    #[inline(always)]
    pub(super) fn new(simd: S, channel: usize) -> Self {
        // Longer than any vector.
        let firsts: [u32; 16] = std::array::from_fn(|lane| (lane / SIZE * SIZE) as u32);
        let firsts = *bytemuck::from_bytes(bytemuck::cast_slice(&firsts[..S::F32_LANES]));
        GroupChannel { channel, lanes: simd.add_u32s(firsts, simd.splat_u32s(channel as u32)) }
    }

    /// In each lane, the value of the channel of the lane's group; the values start with the first lane's group.
    #[inline(always)]
    pub(super) fn read(self, simd: S, values: &[f32]) -> S::f32s {
        if SIZE == 1 {
            return super::simd::load::<S>(values);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(widest) = (&simd as &dyn std::any::Any).downcast_ref::<pulp::x86::V4>() {
            // One instruction, which no loop over lanes becomes.
            let values: pulp::f32x16 = *bytemuck::from_bytes(bytemuck::cast_slice(&values[..16]));
            let lanes: pulp::u32x16 = bytemuck::cast(self.lanes);
            let found = widest.avx512f._mm512_permutexvar_ps(pulp::cast!(lanes), pulp::cast!(values));
            let found: pulp::f32x16 = pulp::cast!(found);
            return bytemuck::cast(found);
        }
        match S::F32_LANES {
            8 => bytemuck::cast(self.read_array::<8>(values)),
            4 => bytemuck::cast(self.read_array::<4>(values)),
            lanes => unreachable!("{lanes} lanes"),
        }
    }

    #[inline(always)]
    fn read_array<const LANES: usize>(self, values: &[f32]) -> [f32; LANES] {
        let values = values.first_chunk::<LANES>().expect("a whole vector");
        std::array::from_fn(|lane| values[lane / SIZE * SIZE + self.channel])
    }
}
