// Matrix product on matrix units: result[m,n] = sum over k of a(m,k) * b(k,n), for matrices that need not exist in memory.
// Appended to the same files as gemm/tiled.wgsl; a part is an independent product.
//
// Matrix units multiply halves and sum in f32. Each value is therefore split into two halves, of which the second holds what the
// first leaves over, and three products of halves make one of f32: high * high + high * low + low * high. Values that are halves
// in memory have no second part, nor its product. Before that, the values of a tile are multiplied by a power of two, so that the
// largest ones are near the largest half: with factors f and g for a and b, result[m,n] = sum(f*a * g*b) / (f*g). Should later
// values be too large for the factor, it is lowered, and the sums with it. Where a value that is split is infinite, its results are
// NaN: what is left over of infinity is.
// With a and b rounded to nearest, the error of a product is at most 3 * 2^-22 |a*b| + 2^-36 (|a| max|b| + |b| max|a|), the
// largest values being those that the workgroup has met. The method: Ootomo and Yokota, "Recovering single precision accuracy
// from Tensor Cores while surpassing the FP32 theoretical peak performance", 2022.
//
// A subgroup owns FRAGMENTS_M x FRAGMENTS_N square matrices of results, of FRAGMENT lines each; a workgroup owns TILE_M x TILE_N
// results in one slice. Its invocations fetch blocks of 4 x 4 values (gemm/errands.wgsl) for each step of TILE_K.
// Launched by src/ops/gemm/matrix_units.rs, which also appends the sizes as const lines, and the file that multiplies fragments.

const INVOCATIONS: u32 = SUBGROUPS_M * SUBGROUPS_N * LANES;
const FRAGMENTS_M: u32 = TILE_M / (SUBGROUPS_M * FRAGMENT);
const FRAGMENTS_N: u32 = TILE_N / (SUBGROUPS_N * FRAGMENT);
const_assert TILE_K % FRAGMENT == 0u;

// The high halves of a [TILE_K,A_PITCH], then the low ones if A_PARTS is 2, and likewise b [TILE_K,B_PITCH], once or twice: while
// one is read, the other is filled. Lines for neighbouring k begin in different banks.
const PADDING: u32 = 2u;
const A_LOW: u32 = TILE_K * A_PITCH;
const B_LOW: u32 = TILE_K * B_PITCH;
const FIRST_B: u32 = A_PARTS * A_LOW;
const TILE_PACKETS: u32 = FIRST_B + B_PARTS * B_LOW;
var<workgroup> tiles: array<vec4<f16>, TILES * TILE_PACKETS>;

// Bits of the largest values of a and of b that were met and did not suit the factors, for each of the tiles. An invocation that
// fills one may be ahead of another that still looks at the other's.
var<workgroup> peaks: array<array<atomic<u32>, 2>, TILES>;

// A fragment of results of each subgroup, which no invocation can see otherwise.
const PIECE_PACKETS: u32 = FRAGMENT * FRAGMENT / 4u;
var<workgroup> pieces: array<vec4<f32>, SUBGROUPS_M * SUBGROUPS_N * PIECE_PACKETS>;
const_assert A_BLOCKS <= SUBGROUPS_M * SUBGROUPS_N * PIECE_PACKETS;

// The factors of a and of b: the bits of the largest values that they suit, and the exponents of the powers of two that are
// multiplied to below 2^HIGHEST.
struct Scales {
    limits: vec2<u32>,
    exponents: vec2<i32>,
}

const HIGHEST: i32 = 11;
// Values grow by so many powers of two before their factor is lowered; they stay below 2^15.
const HEADROOM: i32 = 4;
// A factor is at most 2^126.
const LEAST_EXPONENT: i32 = HIGHEST - 126;
const INFINITY: u32 = 0x7f800000u;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
    @builtin(subgroup_id) subgroup_id: u32,
) {
    let share = share_of(workgroup_number(workgroup, workgroups), TILE_M, TILE_N);
    let first_m = share.first_m;
    let first_n = share.first_n;
    let part = share.part;
    let slice = share.slice;
    if (part >= PRODUCTS) {
        return;
    }
    let end_k = min((slice + 1u) * SLICE_K, reduction(part));

    let errands = errands_of(invocation, part, first_m, first_n);
    let errand = errands.first;
    let second = errands.second;

    if (invocation < TILES) {
        atomicStore(&peaks[invocation][0], 0u);
        atomicStore(&peaks[invocation][1], 0u);
    }
    workgroupBarrier();

    let subgroup = number_of_subgroup(subgroup_id, invocation);
    let own_m = subgroup / SUBGROUPS_N * (FRAGMENTS_M * FRAGMENT);
    let own_n = subgroup % SUBGROUPS_N * (FRAGMENTS_N * FRAGMENT);
    var sums: array<Sums, FRAGMENTS_M * FRAGMENTS_N>;
    var scales: Scales;
    // One workgroup for each line of a, slice and part sums the lines, as it fetches them.
    let sums_lines = SUMS_LINES && first_n == 0u;
    var own_line_sums: vec4<f32>;
    let begin_k = slice * SLICE_K;
    var block: Block;
    var second_block: Block;
    // A slice may start after the end of a short part.
    if (begin_k < end_k) {
        block = fetch(errand, part, begin_k, end_k);
        if (FETCHES_BOTH) {
            second_block = fetch(second, part, begin_k, end_k);
        }
    }
    var tile = 0u;
    for (var first_k = begin_k; first_k < end_k; first_k += TILE_K) {
        let values = finished(errand, block);
        put(errand, tile, values, scales);
        if (sums_lines) {
            own_line_sums += values[0] + values[1] + values[2] + values[3];
        }
        if (FETCHES_BOTH) {
            put(second, tile, finished(second, second_block), scales);
        }
        workgroupBarrier();
        let met = vec2(atomicLoad(&peaks[tile][0]), atomicLoad(&peaks[tile][1]));
        if (any(met > scales.limits)) {
            let before = scales.exponents;
            scales = scales_with(scales, met);
            let change = halves_of_power((before.x - scales.exponents.x) + (before.y - scales.exponents.y));
            for (var i = 0u; i < FRAGMENTS_M * FRAGMENTS_N; i++) {
                sums[i] = times(times(sums[i], change.x), change.y);
            }
            put(errand, tile, finished(errand, block), scales);
            if (FETCHES_BOTH) {
                put(second, tile, finished(second, second_block), scales);
            }
            workgroupBarrier();
        }
        // The next tile is loaded while this one is multiplied.
        if (first_k + TILE_K < end_k) {
            block = fetch(errand, part, first_k + TILE_K, end_k);
            if (FETCHES_BOTH) {
                second_block = fetch(second, part, first_k + TILE_K, end_k);
            }
        }
        for (var k = 0u; k < TILE_K; k += FRAGMENT) {
            let a = tile * TILE_PACKETS + k * A_PITCH + own_m / 4u;
            let b = tile * TILE_PACKETS + FIRST_B + k * B_PITCH + own_n / 4u;
            var b_high: array<Right, FRAGMENTS_N>;
            var b_low: array<Right, FRAGMENTS_N>;
            for (var j = 0u; j < FRAGMENTS_N; j++) {
                b_high[j] = right_at(b + j * FRAGMENT / 4u);
                if (B_PARTS == 2u) {
                    b_low[j] = right_at(b + j * FRAGMENT / 4u + B_LOW);
                }
            }
            for (var i = 0u; i < FRAGMENTS_M; i++) {
                let a_high = left_at(a + i * FRAGMENT / 4u);
                for (var j = 0u; j < FRAGMENTS_N; j++) {
                    sums[i * FRAGMENTS_N + j] = plus_product(a_high, b_high[j], sums[i * FRAGMENTS_N + j]);
                    if (B_PARTS == 2u) {
                        sums[i * FRAGMENTS_N + j] = plus_product(a_high, b_low[j], sums[i * FRAGMENTS_N + j]);
                    }
                }
                if (A_PARTS == 2u) {
                    let a_low = left_at(a + i * FRAGMENT / 4u + A_LOW);
                    for (var j = 0u; j < FRAGMENTS_N; j++) {
                        sums[i * FRAGMENTS_N + j] = plus_product(a_low, b_high[j], sums[i * FRAGMENTS_N + j]);
                    }
                }
            }
        }
        if (TILES == 1u) {
            workgroupBarrier();
        } else {
            tile = 1u - tile;
        }
    }
    if (sums_lines) {
        if (errand.is_a) {
            pieces[errand.k / 4u * A_PACKETS + errand.line] = own_line_sums;
        }
        workgroupBarrier();
        if (invocation < A_PACKETS) {
            var total: vec4<f32>;
            for (var k = 0u; k < K_BLOCKS; k++) {
                total += pieces[k * A_PACKETS + invocation];
            }
            store_line_sums(part, slice, first_m + invocation * 4u, total);
        }
        workgroupBarrier();
    }
    // The fragments go through workgroup memory one after the other, each subgroup's at the same time.
    let back = halves_of_power(scales.exponents.x + scales.exponents.y - 2 * HIGHEST);
    let owner = invocation / LANES;
    let piece_m = first_m + owner / SUBGROUPS_N * (FRAGMENTS_M * FRAGMENT);
    let piece_n = first_n + owner % SUBGROUPS_N * (FRAGMENTS_N * FRAGMENT);
    for (var i = 0u; i < FRAGMENTS_M; i++) {
        for (var j = 0u; j < FRAGMENTS_N; j++) {
            put_piece(sums[i * FRAGMENTS_N + j], subgroup * PIECE_PACKETS);
            workgroupBarrier();
            for (var packet = invocation % LANES; packet < PIECE_PACKETS; packet += LANES) {
                let m = piece_m + i * FRAGMENT + packet / (FRAGMENT / 4u);
                let n = piece_n + j * FRAGMENT + packet % (FRAGMENT / 4u) * 4u;
                if (m < GEMM_M && n < GEMM_N) {
                    store_four(part, slice, m, n, pieces[owner * PIECE_PACKETS + packet] * back.x * back.y);
                }
            }
            workgroupBarrier();
        }
    }
}

// Puts the halves of a block's values into a tile, and notes the largest value if the factor does not suit it.
fn put(errand: Errand, tile: u32, values: mat4x4<f32>, scales: Scales) {
    if (!errand.is_a && !errand.is_b) {
        return;
    }
    let side = select(1u, 0u, errand.is_a);
    let low = select(B_LOW, A_LOW, errand.is_a);
    let is_split = select(B_PARTS, A_PARTS, errand.is_a) == 2u;
    let factor = power_of_two(HIGHEST - scales.exponents[side]);
    let place = tile * TILE_PACKETS + errand.place;
    let largest = max(max(abs(values[0]), abs(values[1])), max(abs(values[2]), abs(values[3])));
    let peak = max(max(largest.x, largest.y), max(largest.z, largest.w));
    for (var j = 0u; j < 4u; j++) {
        let scaled = values[j] * factor;
        let high = select(scaled, digits_of_a_half(scaled), is_split);
        tiles[place + j * errand.pitch] = vec4<f16>(high);
        if (is_split) {
            tiles[place + low + j * errand.pitch] = vec4<f16>(scaled - high);
        }
    }
    if (bitcast<u32>(peak) > scales.limits[side]) {
        atomicMax(&peaks[tile][side], finite_peak(values));
    }
}

// The nearest values of 11 binary digits. A compiler may take a value that was converted to a half and back for the value
// itself, but knows nothing of bits.
fn digits_of_a_half(values: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>((bitcast<vec4<u32>>(values) + vec4(0x1000u)) & vec4(0xffffe000u));
}

// Bits of the largest value of a block that is finite.
fn finite_peak(values: mat4x4<f32>) -> u32 {
    var peak: vec4<u32>;
    for (var j = 0u; j < 4u; j++) {
        let bits = bitcast<vec4<u32>>(values[j]) & vec4(0x7fffffffu);
        peak = max(peak, select(bits, vec4<u32>(), bits >= vec4(INFINITY)));
    }
    return max(max(peak.x, peak.y), max(peak.z, peak.w));
}

// The scales that suit values with these bits, too.
fn scales_with(scales: Scales, peaks: vec2<u32>) -> Scales {
    let exponents = max(vec2<i32>(peaks >> vec2(23u)) - vec2(127), vec2(LEAST_EXPONENT));
    let limits = min(vec2<u32>(exponents + vec2(127 + HEADROOM)) << vec2(23u), vec2(INFINITY - 1u));
    let outgrown = peaks > scales.limits;
    return Scales(select(scales.limits, limits, outgrown), select(scales.exponents, exponents, outgrown));
}

// 2^exponent, which must be the exponent of a normal number.
fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}

// Two factors that make 2^exponent, which may be beyond the range of one.
fn halves_of_power(exponent: i32) -> vec2<f32> {
    return vec2(power_of_two(exponent / 2), power_of_two(exponent - exponent / 2));
}
