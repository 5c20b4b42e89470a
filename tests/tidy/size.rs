//! How long files and functions may be.

use crate::none;
use crate::source::sources;

/// Lines that a file may have, its `#[cfg(test)]` parts not counted.
const FILE_CAP: usize = 600;
/// Lines that half of the production files stay under.
const FILE_MEDIAN: usize = 150;
/// Lines that a function may have, from its signature to its closing brace.
const FUNCTION_CAP: usize = 120;
/// Lines that 99 of 100 production functions stay under.
const FUNCTION_P99: usize = 90;

/// Files over the cap: path and why.
const LONG_FILES: &[(&str, &str)] = &[];
/// Functions over the cap: path, name and why.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

fn percentile(mut values: Vec<usize>, hundredths: usize) -> usize {
    values.sort_unstable();
    values
        .get(values.len() * hundredths / 100)
        .or(values.last())
        .copied()
        .unwrap_or(0)
}

#[test]
fn no_file_is_longer_than_the_cap() {
    let mut broken = Vec::new();
    for source in sources() {
        let excused = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        if (source.body_lines > FILE_CAP) != excused {
            broken.push(format!(
                "{}: {} lines{}",
                source.path,
                source.body_lines,
                if excused { ", excused for nothing" } else { "" }
            ));
        }
    }
    none(
        "a file has at most 600 lines without its tests: cut it by subject",
        broken,
    );
}

#[test]
fn half_of_the_files_are_short() {
    let sizes = sources()
        .iter()
        .filter(|s| !s.is_test())
        .map(|s| s.body_lines)
        .collect();
    let median = percentile(sizes, 50);
    assert!(
        median <= FILE_MEDIAN,
        "the median of the files is {median} lines, the bar is {FILE_MEDIAN}"
    );
}

#[test]
fn no_function_is_longer_than_the_cap() {
    let mut broken = Vec::new();
    for source in sources() {
        for (name, lines) in &source.functions {
            let excused = LONG_FUNCTIONS
                .iter()
                .any(|(path, function, _)| *path == source.path && function == name);
            if (*lines > FUNCTION_CAP) != excused {
                let why = if excused { ", excused for nothing" } else { "" };
                broken.push(format!("{}: {name} has {lines} lines{why}", source.path));
            }
        }
    }
    none("a function has at most 120 lines", broken);
}

#[test]
fn nearly_all_functions_are_short() {
    let shipped = sources().into_iter().filter(|s| !s.is_test());
    let p99 = percentile(
        shipped
            .flat_map(|s| s.functions)
            .map(|(_, lines)| lines)
            .collect(),
        99,
    );
    assert!(
        p99 <= FUNCTION_P99,
        "99 of 100 functions have at most {p99} lines, the bar is {FUNCTION_P99}"
    );
}

#[test]
fn a_percentile_is_a_value_of_the_list() {
    assert_eq!((percentile(vec![3, 1, 2], 50), percentile(vec![1], 99)), (2, 1));
}
