//! Dense algebra in 64 bits for the solvers that need no iterations over batches: least squares and positive definite systems.
//!
//! One thread, sums in a fixed order: the same bits every time.

/// A matrix in columns.
#[derive(Clone, Debug)]
pub struct Columns {
    /// How many rows.
    pub rows: usize,
    /// `[width][rows]`.
    pub columns: Vec<Vec<f64>>,
}

/// The least-squares solutions of `matrix · x ≈ targets` with the smallest norm, a column of `targets` each.
///
/// Householder's QR, and where that shows dependent columns, a singular value decomposition of its triangle, in which
/// directions below `rows` or `width` roundings of the largest one count as none.
pub fn least_squares(mut matrix: Columns, mut targets: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let width = matrix.columns.len();
    let size = matrix.rows.max(width);
    for column in matrix.columns.iter_mut().chain(&mut targets) {
        column.resize(size, 0.0); // rows of zeros change no solution
    }
    matrix.rows = size;
    triangulate(&mut matrix, &mut targets);
    let triangle = &matrix.columns;
    match condition(triangle) < 1e10 {
        true => targets.iter().map(|target| back_substitute(triangle, target)).collect(),
        false => by_singular_values(triangle, &targets, size as f64 * f64::EPSILON),
    }
}

/// Makes `matrix` upper triangular with reflections, which the targets undergo as well.
fn triangulate(matrix: &mut Columns, targets: &mut [Vec<f64>]) {
    for pivot in 0..matrix.columns.len() {
        let (done, rest) = matrix.columns.split_at_mut(pivot + 1);
        let column = &mut done[pivot];
        let norm = dot(&column[pivot..], &column[pivot..]).sqrt();
        if norm == 0.0 {
            continue;
        }
        let mut reflector = column[pivot..].to_vec();
        reflector[0] += norm.copysign(reflector[0]);
        let scale = 2.0 / dot(&reflector, &reflector);
        for column in std::iter::once(column).chain(rest).chain(targets.iter_mut()) {
            let part = scale * dot(&reflector, &column[pivot..]);
            add_scaled(&mut column[pivot..], -part, &reflector);
        }
    }
}

/// An estimate from below of the ratio of the triangle's largest to its smallest singular value: a few steps of the power
/// iteration, forwards and with the inverse.
fn condition(triangle: &[Vec<f64>]) -> f64 {
    let width = triangle.len();
    let diagonal = |index: usize| triangle[index][index];
    let largest = (0..width).map(|index| dot(&triangle[index][..=index], &triangle[index][..=index]).sqrt());
    let largest = largest.fold(0.0, f64::max);
    if (0..width).any(|index| diagonal(index).abs() <= largest * 1e-12) {
        return f64::INFINITY;
    }
    let mut vector: Vec<f64> = (0..width).map(|index| 1.0 + index as f64 / width as f64).collect();
    let mut growth = 0.0;
    for _ in 0..4 {
        let norm = dot(&vector, &vector).sqrt();
        vector.iter_mut().for_each(|value| *value /= norm);
        vector = back_substitute(triangle, &forward_substitute(triangle, &vector));
        growth = dot(&vector, &vector).sqrt();
    }
    largest * growth.sqrt()
}

/// x of triangle · x = target.
fn back_substitute(triangle: &[Vec<f64>], target: &[f64]) -> Vec<f64> {
    let mut x = target[..triangle.len()].to_vec();
    for pivot in (0..triangle.len()).rev() {
        x[pivot] /= triangle[pivot][pivot];
        let known = x[pivot];
        add_scaled(&mut x[..pivot], -known, &triangle[pivot][..pivot]);
    }
    x
}

/// x of the triangle's transpose · x = target.
fn forward_substitute(triangle: &[Vec<f64>], target: &[f64]) -> Vec<f64> {
    let mut x = target[..triangle.len()].to_vec();
    for pivot in 0..triangle.len() {
        x[pivot] = (x[pivot] - dot(&triangle[pivot][..pivot], &x[..pivot])) / triangle[pivot][pivot];
    }
    x
}

/// One-sided Jacobi: rotates columns until they are orthogonal; their lengths are the singular values then.
fn by_singular_values(triangle: &[Vec<f64>], targets: &[Vec<f64>], tolerance: f64) -> Vec<Vec<f64>> {
    let width = triangle.len();
    let square = |index: usize| (0..width).map(|row| if row <= index { triangle[index][row] } else { 0.0 }).collect();
    let mut left: Vec<Vec<f64>> = (0..width).map(square).collect();
    let mut right: Vec<Vec<f64>> = (0..width).map(|index| unit(index, width)).collect();
    const SWEEPS_MAX: usize = 60;
    for _ in 0..SWEEPS_MAX {
        let mut turned = false;
        for first in 0..width {
            for second in first + 1..width {
                turned |= orthogonalise(&mut left, &mut right, first, second);
            }
        }
        if !turned {
            break;
        }
    }
    let squares: Vec<f64> = left.iter().map(|column| dot(column, column)).collect();
    let least = squares.iter().fold(0.0, |a: f64, &b| a.max(b)) * tolerance * tolerance;
    let solve = |target: &Vec<f64>| {
        let mut x = vec![0.0; width];
        for index in (0..width).filter(|&index| squares[index] > least) {
            add_scaled(&mut x, dot(&left[index], &target[..width]) / squares[index], &right[index]);
        }
        x
    };
    targets.iter().map(solve).collect()
}

fn orthogonalise(left: &mut [Vec<f64>], right: &mut [Vec<f64>], first: usize, second: usize) -> bool {
    let (a, b) = (dot(&left[first], &left[first]), dot(&left[second], &left[second]));
    let product = dot(&left[first], &left[second]);
    if product == 0.0 || product.abs() <= 1e-15 * (a * b).sqrt() {
        return false;
    }
    let ratio = (b - a) / (2.0 * product);
    let tangent = ratio.signum() / (ratio.abs() + (1.0 + ratio * ratio).sqrt());
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    for columns in [left, right] {
        let (head, tail) = columns.split_at_mut(second);
        for (x, y) in head[first].iter_mut().zip(&mut tail[0]) {
            (*x, *y) = (cosine * (*x - tangent * *y), cosine * (tangent * *x + *y));
        }
    }
    true
}

/// Cholesky's solution of `matrix · x = target` for a symmetric matrix `[size][size]`, of which the lower half is read and
/// overwritten; `None` when it is not positive definite.
pub fn positive_definite(matrix: &mut [f64], mut target: Vec<f64>) -> Option<Vec<f64>> {
    let size = target.len();
    for row in 0..size {
        let (above, rest) = matrix.split_at_mut(row * size);
        let current = &mut rest[..=row];
        for column in 0..row {
            let other = &above[column * size..=column * size + column];
            current[column] = (current[column] - dot(&current[..column], &other[..column])) / other[column];
        }
        let pivot = current[row] - dot(&current[..row], &current[..row]);
        if pivot.is_nan() || pivot <= 0.0 {
            return None;
        }
        current[row] = pivot.sqrt();
        target[row] = (target[row] - dot(&current[..row], &target[..row])) / current[row];
    }
    for row in (0..size).rev() {
        target[row] /= matrix[row * size + row];
        let known = target[row];
        add_scaled(&mut target[..row], -known, &matrix[row * size..row * size + row]);
    }
    Some(target)
}

/// Σ aᵢ bᵢ in eight interleaved sums, which the compiler can keep in vectors.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_parts, a_rest) = a.as_chunks::<8>();
    let (b_parts, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_parts.iter().zip(b_parts) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// `to` += `factor` · `from`.
pub fn add_scaled(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

fn unit(index: usize, width: usize) -> Vec<f64> {
    let mut vector = vec![0.0; width];
    vector[index] = 1.0;
    vector
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::random::{Purpose, Random};

    fn random(rows: usize, width: usize, seed: u64) -> Columns {
        let mut random = Random::new(seed, Purpose::Start, 0);
        Columns { rows, columns: (0..width).map(|_| (0..rows).map(|_| random.normal()).collect()).collect() }
    }

    /// At the smallest sum of squares the rest is orthogonal to every column.
    fn slope(matrix: &Columns, x: &[f64], target: &[f64]) -> f64 {
        let mut rest = target.to_vec();
        matrix.columns.iter().zip(x).for_each(|(column, x)| add_scaled(&mut rest, -x, column));
        matrix.columns.iter().map(|column| dot(column, &rest).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn the_rest_of_a_solution_is_orthogonal() {
        for (rows, width) in [(50, 7), (7, 7), (5, 9)] {
            let (matrix, target) = (random(rows, width, 1), random(rows, 1, 2).columns.remove(0));
            let x = least_squares(matrix.clone(), vec![target.clone()]).remove(0);
            assert!(slope(&matrix, &x, &target) < 1e-9, "{rows} × {width}");
        }
    }

    #[test]
    fn dependent_columns_share_the_weight() {
        let mut matrix = random(20, 2, 3);
        matrix.columns.push(matrix.columns[1].clone());
        let target: Vec<f64> = (0..20).map(|row| matrix.columns[0][row] + 3.0 * matrix.columns[1][row]).collect();
        let x = least_squares(matrix, vec![target]).remove(0);
        for (found, expected) in x.iter().zip([1.0, 1.5, 1.5]) {
            assert!((found - expected).abs() < 1e-12, "{x:?}");
        }
    }

    #[test]
    fn a_positive_definite_system_is_solved_and_another_refused() {
        let mut matrix = vec![4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 1.0, 2.0, 6.0];
        let x = positive_definite(&mut matrix, vec![4.0 + 4.0 + 3.0, 2.0 + 10.0 + 6.0, 1.0 + 4.0 + 18.0])
            .expect("definite");
        x.iter().zip([1.0, 2.0, 3.0]).for_each(|(x, expected)| assert!((x - expected).abs() < 1e-12));
        assert_eq!(positive_definite(&mut [1.0, 0.0, 2.0, 1.0], vec![1.0, 1.0]), None);
    }
}
