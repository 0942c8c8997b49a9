//! Which names something is for.

use std::fmt;

use super::name::SubjectName;

/// `shop.example.com`: that name. `*.example.com`: that wildcard, and every name below, however deep.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamePattern(SubjectName);

impl NamePattern {
    pub const fn of(name: SubjectName) -> Self {
        Self(name)
    }

    pub fn fits(&self, name: &SubjectName) -> bool {
        let SubjectName::Wildcard(above) = &self.0 else { return self.0 == *name };
        let below = |base: &str| base.strip_suffix(above.as_str()).is_some_and(|rest| rest.ends_with('.'));
        self.0 == *name || name.base().is_some_and(below)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_all_below() {
        for (pattern, name, fits) in [
            ("a.example", "a.example", true),
            ("a.example", "*.a.example", false),
            ("a.example", "b.a.example", false),
            ("*.a.example", "*.a.example", true),
            ("*.a.example", "b.a.example", true),
            ("*.a.example", "c.b.a.example", true),
            ("*.a.example", "*.b.a.example", true),
            ("*.a.example", "a.example", false),
            ("*.a.example", "ba.example", false),
            ("192.0.2.1", "192.0.2.1", true),
        ] {
            let (pattern, name) = (SubjectName::parse(pattern).unwrap(), SubjectName::parse(name).unwrap());
            assert_eq!(NamePattern::of(pattern.clone()).fits(&name), fits, "{pattern} {name}");
        }
    }
}
