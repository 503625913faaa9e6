// Adding the slices of sums, for kernels that declare `slices` and have them added by add_lanes. src/ops/gemm/slices.rs appends
// INVOCATIONS, a power of two, as a const line.
// An invocation owns one result in every lanes-th slice; a workgroup owns INVOCATIONS / lanes results that follow one
// another in memory, and adds its lanes as a tree. The order depends on the sizes alone, so that the same data give the
// same bits, whichever kernel adds them.

struct SliceSum {
    // Where the slices begin, [count,elements].
    first_slice: u32,
    elements: u32,
    count: u32,
    // How many invocations share a sum: a power of two.
    lanes: u32,
    // Where the results begin.
    first_result: u32,
    // Which of the sums are the workgroup's, by the number of the first.
    first: u32,
}

// The workgroup's results, once they are added, in its first places; past the last of a sum, zeros.
var<workgroup> lane_sums: array<f32, INVOCATIONS>;

fn add_lanes(sum: SliceSum, invocation: u32) {
    let width = INVOCATIONS / sum.lanes;
    let lane = invocation / width;
    let index = sum.first + invocation % width;
    var total = 0.0;
    if (index < sum.elements) {
        // Loads of four slices wait together.
        let distance = sum.lanes * sum.elements;
        var slice = lane;
        var place = sum.first_slice + lane * sum.elements + index;
        for (; slice + 3u * sum.lanes < sum.count; slice += 4u * sum.lanes) {
            let a = slices[place];
            let b = slices[place + distance];
            let c = slices[place + 2u * distance];
            let d = slices[place + 3u * distance];
            total = total + a + b + c + d;
            place += 4u * distance;
        }
        for (; slice < sum.count; slice += sum.lanes) {
            total += slices[place];
            place += distance;
        }
    }
    lane_sums[invocation] = total;
    for (var span = sum.lanes / 2u; span > 0u; span /= 2u) {
        workgroupBarrier();
        if (lane < span) {
            lane_sums[invocation] += lane_sums[invocation + span * width];
        }
    }
}
