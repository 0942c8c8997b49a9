//! Patterns for one level of a path: `*`, `?` and `[…]`, as shells have them.

/// Whether `name`, one component of a path, fits `pattern`. A dot at its start is matched by a dot
/// alone, as in a shell.
pub fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // One place to come back to suffices: a later star takes up whatever an earlier one could.
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        let step = match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, read));
                at += 1;
                continue;
            }
            Some('?') => Some(at + 1),
            Some('[') => class(&pattern[at + 1..], name[read]).map(|length| at + 1 + length),
            Some('\\') if pattern.get(at + 1) == Some(&name[read]) => Some(at + 2),
            Some(letter) if *letter == name[read] => Some(at + 1),
            _ => None,
        };
        match (step, &mut star) {
            (Some(next), _) => {
                at = next;
                read += 1;
            }
            (None, Some((after, from))) => {
                *from += 1;
                (at, read) = (*after, *from);
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

/// Whether a component is to be compared, rather than taken as it is.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Length of a class behind its bracket where it holds `letter`; `None` where it does not, or has
/// no end.
fn class(class: &[char], letter: char) -> Option<usize> {
    let negated = matches!(class.first(), Some('!' | '^'));
    let start = usize::from(negated);
    let end = start + 1 + class.get(start + 1..)?.iter().position(|letter| *letter == ']')?;
    let members = &class[start..end];
    let mut holds = false;
    let mut at = 0;
    while at < members.len() {
        if members.get(at + 1) == Some(&'-') && at + 2 < members.len() {
            holds |= (members[at]..=members[at + 2]).contains(&letter);
            at += 3;
        } else {
            holds |= members[at] == letter;
            at += 1;
        }
    }
    (holds != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name, fit) in [
            ("*.pem", "shop.pem", true),
            ("*.pem", ".hidden.pem", false),
            (".*.pem", ".hidden.pem", true),
            ("*.pem", "shop.pem.bak", false),
            ("shop-?.crt", "shop-1.crt", true),
            ("shop-?.crt", "shop-12.crt", false),
            ("[a-c]*", "bank", true),
            ("[!a-c]*", "bank", false),
            ("[]x]y", "]y", true),
            ("*a*b*c", "xaybzc", true),
            ("*a*b*c", "xaybz", false),
            ("[a", "[a", false),
            ("\\*", "*", true),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_end_soon() {
        assert!(!fits(&"*a".repeat(16), &"b".repeat(255)));
        assert!(!fits(&format!("{}c", "*a".repeat(100)), &"a".repeat(255)));
    }

    proptest::proptest! {
        #[test]
        fn any_pattern_ends_and_a_star_fits_all(pattern in "[*?a\\[\\]!-]{0,12}", name in "[a-c]{0,20}") {
            let _ = fits(&pattern, &name);
            proptest::prop_assert!(fits("*", &name));
            let longer = format!("{name}*");
            proptest::prop_assert!(fits(&longer, &name));
        }
    }
}
