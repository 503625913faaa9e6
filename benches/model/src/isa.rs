//! What the inner loop of a program does, from its machine code as Mesa prints it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Instructions of a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    /// All of them; one that does two things counts two.
    pub instructions: u32,
    /// Multiply-adds.
    pub multiply_adds: u32,
    /// Products of matrices, of 16 x 16.
    pub matrix_products: u32,
    /// Bits of the widest loads from buffers, and of those from workgroup memory.
    pub buffer_bits: u32,
    pub workgroup_bits: u32,
}

impl Loop {
    /// Multiply-adds among all instructions.
    pub fn share(&self) -> f64 {
        f64::from(self.multiply_adds) / f64::from(self.instructions.max(1))
    }

    fn of<'a>(instructions: impl Iterator<Item = &'a str>) -> Loop {
        let mut found = Loop::default();
        for part in instructions.flat_map(|instruction| instruction.split("::")) {
            let name = part.split_whitespace().next().unwrap_or_default();
            found.instructions += 1;
            let bare = name.trim_start_matches("v_dual_").trim_start_matches("v_");
            if name.starts_with("v_")
                && ["fma", "fmac", "pk_fma", "mad_f", "mac_f"].iter().any(|fma| bare.starts_with(fma))
            {
                found.multiply_adds += 1;
            }
            found.matrix_products += u32::from(name.starts_with("v_wmma_"));
            if ["buffer_load", "global_load", "s_buffer_load"].iter().any(|load| name.starts_with(load)) {
                found.buffer_bits = found.buffer_bits.max(bits(name));
            }
            if name.starts_with("ds_load") || name.starts_with("ds_read") {
                found.workgroup_bits = found.workgroup_bits.max(bits(name));
            }
        }
        found
    }
}

/// The width of a load, by its name.
fn bits(name: &str) -> u32 {
    let widths = [
        ("b128", 128),
        ("dwordx4", 128),
        ("b96", 96),
        ("dwordx3", 96),
        ("b64", 64),
        ("dwordx2", 64),
        ("b256", 256),
    ];
    widths.iter().find(|(suffix, _)| name.contains(suffix)).map_or(32, |&(_, bits)| bits)
}

/// The loop without loops inside that does the most products of matrices, or else multiply-adds, and the smallest one around it.
pub fn hot_loop(text: &str) -> Option<(Loop, Option<Loop>)> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    let mut numbers = HashMap::new();
    for line in text.lines() {
        let code = line.split(';').next().unwrap_or_default().trim();
        match code.strip_prefix("BB").and_then(|rest| rest.strip_suffix(':')) {
            Some(number) => {
                numbers.insert(number, blocks.len());
                blocks.push(Vec::new());
            }
            None if !code.is_empty() => blocks.last_mut().into_iter().for_each(|block| block.push(code)),
            None => {}
        }
    }
    let mut loops: Vec<(usize, usize)> = Vec::new();
    for (last, block) in blocks.iter().enumerate() {
        for code in block.iter().filter(|code| code.starts_with("s_cbranch") || code.starts_with("s_branch"))
        {
            let target = code.split_whitespace().last().and_then(|target| target.strip_prefix("BB"));
            if let Some(&first) = target.and_then(|target| numbers.get(target))
                && first <= last
            {
                loops.push((first, last));
            }
        }
    }
    let contains = |a: &(usize, usize), b: &(usize, usize)| a != b && a.0 <= b.0 && b.1 <= a.1;
    let of = |&(first, last): &(usize, usize)| Loop::of(blocks[first..=last].iter().flatten().copied());
    let innermost = loops.iter().filter(|outer| !loops.iter().any(|inner| contains(outer, inner)));
    let hot = innermost.max_by_key(|found| (of(found).matrix_products, of(found).multiply_adds))?;
    let around = loops.iter().filter(|outer| contains(outer, hot)).min_by_key(|(first, last)| last - first);
    Some((of(hot), around.map(of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "
BB0:
	s_mov_b32 s0, 0 ; be800080
BB1:
	buffer_load_b128 v[0:3], v4, s[0:3], 0 offen ; e0
	v_add_nc_u32_e32 v4, 1, v4 ; 4a
BB2:
	ds_load_b128 v[0:3], v4 ; d8
	v_fmac_f32_e32 v0, v1, v2 ; 56
	v_dual_fmac_f32 v5, v1, v2 :: v_dual_mov_b32 v6, v7 ; c8
	s_cbranch_scc1 BB2 ; bf
BB3:
	s_cbranch_scc0 BB1 ; bf
BB4:
	s_endpgm ; bf
";

    #[test]
    fn the_innermost_loop_is_found_and_its_instructions_are_told_apart() {
        let (inner, outer) = hot_loop(CODE).unwrap();
        let expected = Loop { instructions: 5, multiply_adds: 2, workgroup_bits: 128, ..Loop::default() };
        assert_eq!(inner, expected);
        assert_eq!(outer, Some(Loop { instructions: 8, buffer_bits: 128, ..expected }));
        let (inner, _) =
            hot_loop(&CODE.replace("v_fmac_f32_e32 v0, v1", "v_wmma_f32_16x16x16_f16 v[0:7], v1")).unwrap();
        assert_eq!(inner, Loop { multiply_adds: 1, matrix_products: 1, ..expected });
        assert_eq!(hot_loop("BB0:\n\ts_endpgm ; bf"), None);
    }
}
