//! Writes a source with all its faults in it, each behind a switch.

use std::fmt::Write as _;
use std::ops::Range;

use crate::mutant::{Kind, Site};

/// A file with its switches.
#[derive(Default)]
pub struct Woven {
    pub text: String,
    /// Number of each fault, and the octets of the new text that are its own.
    pub own: Vec<(u32, Range<usize>)>,
    /// Numbers of the faults of each site, and all octets that the site became.
    pub around: Vec<(Vec<u32>, Range<usize>)>,
}

/// Weaves the sites into their source. A site's faults are numbered by `numbers`, in the same order; those
/// without a number are left out.
pub fn weave(source: &str, sites: &[(Site, Vec<Option<u32>>)]) -> Woven {
    let mut order: Vec<usize> = (0..sites.len()).collect();
    // What begins first is outside; a place without width stands before what begins there.
    order.sort_by_key(|&i| {
        let range = &sites[i].0.range;
        (range.start, !range.is_empty(), std::cmp::Reverse(range.end))
    });
    let mut loom = Loom { source, sites, order, next: 0, at: 0, woven: Woven::default() };
    loom.until(source.len());
    loom.copy(source.len());
    loom.woven
}

struct Loom<'a> {
    source: &'a str,
    sites: &'a [(Site, Vec<Option<u32>>)],
    order: Vec<usize>,
    next: usize,
    /// How far the source has been copied, in octets.
    at: usize,
    woven: Woven,
}

impl Loom<'_> {
    fn copy(&mut self, to: usize) {
        self.woven.text.push_str(self.source.get(self.at..to).unwrap_or_default());
        self.at = self.at.max(to);
    }

    /// Weaves all sites that begin before `end`.
    fn until(&mut self, end: usize) {
        while let Some(&index) = self.order.get(self.next) {
            let (site, numbers) = &self.sites[index];
            if site.range.start >= end {
                return;
            }
            self.next += 1;
            self.copy(site.range.start);
            let begun = self.woven.text.len();
            let faults: Vec<(u32, &str)> = site
                .mutants
                .iter()
                .zip(numbers)
                .filter_map(|(mutant, number)| Some(((*number)?, mutant.text.as_str())))
                .collect();
            let close = self.open(site.kind, &faults);
            self.until(site.range.end);
            self.copy(site.range.end);
            self.woven.text.push_str(&close);
            let all = begun..self.woven.text.len();
            self.woven.around.push((faults.iter().map(|(number, _)| *number).collect(), all));
        }
    }

    /// Writes what stands before a site, and answers what stands behind it.
    fn open(&mut self, kind: Kind, faults: &[(u32, &str)]) -> String {
        if faults.is_empty() {
            return String::new();
        }
        let on = |number: u32| format!("crate::mutant::on({number})");
        match kind {
            Kind::Expression => {
                self.woven.text.push('(');
                for (number, text) in faults {
                    self.own(*number, &format!("if {} {{ {text} }} else ", on(*number)));
                }
                self.woven.text.push_str("{ ");
                " })".into()
            }
            Kind::Body => {
                for (number, text) in faults {
                    self.own(*number, &format!(" if {} {{ return {text}; }}", on(*number)));
                }
                String::new()
            }
            Kind::Arm => {
                let all: Vec<_> = faults.iter().map(|(number, _)| format!("!{}", on(*number))).collect();
                let text = format!(" if {}", all.join(" && "));
                self.own(faults[0].0, &text);
                String::new()
            }
            Kind::Guard => {
                let mut text = String::from("(");
                for (number, _) in faults.iter().filter(|(_, text)| *text == "true") {
                    let _ = write!(text, "{} || ", on(*number));
                }
                text.push('(');
                for (number, _) in faults.iter().filter(|(_, text)| *text != "true") {
                    let _ = write!(text, "!{} && ", on(*number));
                }
                text.push('(');
                self.woven.text.push_str(&text);
                ")))".into()
            }
        }
    }

    fn own(&mut self, number: u32, text: &str) {
        let begun = self.woven.text.len();
        self.woven.text.push_str(text);
        self.woven.own.push((number, begun..self.woven.text.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::weave;
    use crate::find::find;

    fn woven(source: &str) -> String {
        let mut next = 0;
        let sites: Vec<_> = find(source)
            .unwrap()
            .sites
            .into_iter()
            .map(|site| {
                let numbers = site.mutants.iter().map(|_| {
                    next += 1;
                    Some(next)
                });
                let numbers: Vec<_> = numbers.collect();
                (site, numbers)
            })
            .collect();
        let text = weave(source, &sites).text;
        assert!(syn::parse_file(&text).is_ok(), "{text}");
        text.replace("crate::mutant::on", "on")
    }

    #[test]
    fn what_stands_inside_another_is_woven_into_its_last_branch() {
        assert_eq!(
            woven("fn f() { a(!b && c) }"),
            "fn f() { if on(1) { return (); } a((if on(2) { (!b) || (c) } else { (if on(3) { (b) } else { !b }) && c })) }"
        );
    }

    #[test]
    fn an_arm_gets_a_guard_and_a_guard_two_ways_out() {
        assert_eq!(
            woven("fn f() -> ! { match a { 1 => b(), 2 if c => d(), _ => e() } }"),
            "fn f() -> ! { match a { 1 if !on(1) => b(), 2 if (on(2) || (!on(3) && (c))) => d(), _ => e() } }"
        );
    }

    #[test]
    fn a_fault_without_a_number_leaves_no_trace() {
        let source = "fn f() -> bool { a < b }";
        let sites: Vec<_> = find(source)
            .unwrap()
            .sites
            .into_iter()
            .map(|site| {
                let none = site.mutants.iter().map(|_| None).collect();
                (site, none)
            })
            .collect();
        assert_eq!(weave(source, &sites).text, source);
    }
}
