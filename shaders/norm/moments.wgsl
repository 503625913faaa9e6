// Count, mean, and sum of squared differences from the mean of a set of values, and the same for the union of two sets.
// Chan, Golub and LeVeque 1979: no large sums are subtracted from each other, however far the mean is from zero.
// Appended by src/ops/norm/train.rs.

struct Moments {
    count: f32,
    mean: f32,
    squares: f32,
}

alias Lane = Moments;

fn together(a: Moments, b: Moments) -> Moments {
    let count = a.count + b.count;
    // Also valid for two empty sets.
    let share = b.count / max(count, 1.0);
    let difference = b.mean - a.mean;
    return Moments(
        count,
        a.mean + difference * share,
        a.squares + b.squares + difference * difference * a.count * share,
    );
}

fn of_value(value: f32) -> Moments {
    return Moments(1.0, value, 0.0);
}
