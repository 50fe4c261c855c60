//! The name that somebody probably meant.

/// Longer names are no slips of the pen, and the comparison is quadratic.
const LONGEST_NAME: usize = 80;

/// The candidate that differs from `wanted` in the fewest letters, if those are few enough for a slip.
pub(crate) fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if wanted.len() > LONGEST_NAME {
        return None;
    }
    let tolerated = (wanted.len() / 3).max(1);
    candidates
        .map(|candidate| (distance(wanted, candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or changed; case does not count (Levenshtein, one row at a time).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.bytes()) {
            let changed = diagonal + usize::from(!from.eq_ignore_ascii_case(&to));
            diagonal = *cell;
            *cell = changed.min(left + 1).min(diagonal + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("Class", "cLASS"), 0);
        assert_eq!(distance("flaw", "lawn"), 2);
    }

    #[test]
    fn only_a_slip_is_mended() {
        let names = ["Filter-Id", "Class", "Framed-Pool"];
        assert_eq!(nearest("Filter-ID5", names.into_iter()), Some("Filter-Id"));
        assert_eq!(nearest("Frmaed-Pool", names.into_iter()), Some("Framed-Pool"));
        assert_eq!(nearest("Something-Else", names.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(500), names.into_iter()), None);
    }
}
