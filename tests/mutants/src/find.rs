//! Finds what could be wrong in a source: the rules of cargo-mutants, and calls taken for their opposites.
//!
//! Left alone: tests, constants, patterns, and what stands inside a macro's brackets, which the parser does
//! not see as code.

use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Block, Expr, ReturnType, UnOp};

use crate::mutant::{Kind, Mutant, Site};
use crate::value::values;

/// Longest piece of source that a description shows, in characters.
const SHOWN_MOST: usize = 80;

/// Calls that are easily mistaken for each other, with the number of their arguments.
const MISTAKEN: [(&str, &str, usize); 14] = [
    ("min", "max", 1),
    ("max", "min", 1),
    ("saturating_add", "saturating_sub", 1),
    ("saturating_sub", "saturating_add", 1),
    ("any", "all", 1),
    ("all", "any", 1),
    ("is_some", "is_none", 0),
    ("is_none", "is_some", 0),
    ("is_ok", "is_err", 0),
    ("is_err", "is_ok", 0),
    ("first", "last", 0),
    ("last", "first", 0),
    ("is_some_and", "is_none_or", 1),
    ("is_none_or", "is_some_and", 1),
];

/// Calls whose answer may be taken for its opposite.
const NEGATED: [&str; 6] =
    ["is_empty", "contains", "contains_key", "starts_with", "ends_with", "eq_ignore_ascii_case"];

/// What a file holds.
#[derive(Debug, Default)]
pub struct Found {
    pub sites: Vec<Site>,
    /// Modules that only tests have: their files are none of ours.
    pub test_modules: Vec<String>,
}

/// All sites of a source, in no order.
pub fn find(source: &str) -> Result<Found, String> {
    let file = syn::parse_file(source).map_err(|e| format!("{e} (line {})", e.span().start().line))?;
    let mut finder = Finder { source, found: Found::default(), within: Vec::new() };
    finder.visit_file(&file);
    Ok(finder.found)
}

struct Finder<'a> {
    source: &'a str,
    found: Found,
    /// Names of the implementation and the function that are being read.
    within: Vec<String>,
}

impl Finder<'_> {
    fn text(&self, range: &Range<usize>) -> &str {
        self.source.get(range.clone()).unwrap_or_default()
    }

    fn shown(&self, range: &Range<usize>) -> String {
        let text = self.text(range).split_whitespace().collect::<Vec<_>>().join(" ");
        if text.chars().count() <= SHOWN_MOST {
            return text;
        }
        text.chars().take(SHOWN_MOST).chain("…".chars()).collect()
    }

    fn mutant(&self, span: Span, what: &str, text: String) -> Mutant {
        let place = self.within.join("::");
        Mutant { what: format!("{place}: {what}"), line: span.start().line, text }
    }

    fn site(&mut self, range: Range<usize>, kind: Kind, mutants: Vec<Mutant>) {
        // Code that a macro of the language wrote has no place of its own.
        if !mutants.is_empty() && !self.within.is_empty() && self.source.get(range.clone()).is_some() {
            self.found.sites.push(Site { range, kind, mutants });
        }
    }

    /// Options for the whole of an expression.
    fn instead(&mut self, expr: &Expr, texts: Vec<String>) {
        let range = expr.span().byte_range();
        let shown = self.shown(&range);
        let mutants = texts
            .into_iter()
            .map(|text| {
                let new: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
                self.mutant(expr.span(), &format!("`{shown}` as `{}`", cut(&new)), text)
            })
            .collect();
        self.site(range, Kind::Expression, mutants);
    }

    fn body(&mut self, output: &ReturnType, block: &Block) {
        if block.stmts.is_empty() {
            return;
        }
        let now = self.shown(&block.span().byte_range()).replace([' ', '{', '}'], "");
        let options = match output {
            ReturnType::Default => vec!["()".to_owned()],
            ReturnType::Type(_, of) => values(of),
        };
        let mutants = options
            .into_iter()
            .filter(|text| text.replace(' ', "") != now)
            .map(|text| self.mutant(block.span(), &format!("answers `{text}`"), text))
            .collect();
        let at = block.brace_token.span.open().byte_range().end;
        self.site(at..at, Kind::Body, mutants);
    }

    fn function(&mut self, name: &str, output: &ReturnType, block: &Block) {
        self.within.push(name.to_owned());
        self.body(output, block);
        self.visit_block(block);
        self.within.pop();
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attrs: &[Attribute] = match item {
            syn::Item::Mod(x) => &x.attrs,
            syn::Item::Fn(x) => &x.attrs,
            syn::Item::Impl(x) => &x.attrs,
            syn::Item::Trait(x) => &x.attrs,
            // Constants, types and macros hold nothing that is decided when the program runs.
            _ => return,
        };
        if for_tests(attrs) {
            if let syn::Item::Mod(module) = item {
                self.found.test_modules.push(module.ident.to_string());
            }
            return;
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident.to_string(), &item.sig.output, &item.block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let of = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        // What a developer sees of a value is nobody's promise.
        if of.is_some_and(|name| name.ident == "Debug") {
            return;
        }
        self.within.push(self.shown(&item.self_ty.span().byte_range()));
        for part in &item.items {
            if let syn::ImplItem::Fn(part) = part
                && !for_tests(&part.attrs)
            {
                self.function(&part.sig.ident.to_string(), &part.sig.output, &part.block);
            }
        }
        self.within.pop();
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig.ident.to_string(), &item.sig.output, block);
        }
    }

    fn visit_expr_match(&mut self, expr: &'ast syn::ExprMatch) {
        let catch_all =
            expr.arms.last().is_some_and(|arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none());
        for (index, arm) in expr.arms.iter().enumerate() {
            let pattern = self.shown(&arm.pat.span().byte_range());
            let gone = (catch_all && index + 1 < expr.arms.len())
                .then(|| self.mutant(arm.pat.span(), &format!("without the arm `{pattern}`"), String::new()));
            match &arm.guard {
                None => {
                    let at = arm.pat.span().byte_range().end;
                    self.site(at..at, Kind::Arm, gone.into_iter().collect());
                }
                Some((_, guard)) if !has_let(guard) => {
                    let shown = self.shown(&guard.span().byte_range());
                    let mut mutants: Vec<_> = ["true", "false"]
                        .into_iter()
                        .map(|to| {
                            let what = format!("arm `{pattern}` if `{shown}` as if {to}");
                            self.mutant(guard.span(), &what, to.to_owned())
                        })
                        .collect();
                    // An arm that never fits and an arm that is not there are the same.
                    if gone.is_some() {
                        mutants.retain(|m| m.text == "true");
                        mutants.extend(gone);
                    }
                    self.site(guard.span().byte_range(), Kind::Guard, mutants);
                }
                Some(_) => {}
            }
        }
        visit::visit_expr_match(self, expr);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        match expr {
            Expr::Binary(binary) if !has_let(expr) => {
                let left = self.text(&binary.left.span().byte_range()).to_owned();
                let right = self.text(&binary.right.span().byte_range()).to_owned();
                let assigns = matches!(operator(&binary.op), Some((true, _)));
                let texts = operator(&binary.op)
                    .map(|(_, others)| others)
                    .unwrap_or_default()
                    .iter()
                    .map(|op| {
                        // What is assigned to is a place: brackets about it are a warning at most.
                        if assigns {
                            format!("{left} {op} ({right})")
                        } else {
                            format!("({left}) {op} ({right})")
                        }
                    })
                    .collect();
                self.instead(expr, texts);
            }
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_) | UnOp::Neg(_)) => {
                // The sign of a number that is written out belongs to a constant.
                let text = self.text(&unary.expr.span().byte_range()).to_owned();
                self.instead(expr, vec![format!("({text})")]);
            }
            Expr::MethodCall(call) => {
                let name = call.method.to_string();
                let all = expr.span().byte_range();
                let at = call.method.span().byte_range();
                let (before, after) =
                    (self.text(&(all.start..at.start)).to_owned(), self.text(&(at.end..all.end)).to_owned());
                let mut texts: Vec<String> = MISTAKEN
                    .iter()
                    .filter(|(from, _, arguments)| *from == name && *arguments == call.args.len())
                    .map(|(_, to, _)| format!("{before}{to}{after}"))
                    .collect();
                if NEGATED.contains(&name.as_str()) {
                    texts.push(format!("!({})", self.text(&all)));
                }
                self.instead(expr, texts);
            }
            // Lengths of arrays and blocks of constants are worked out by the compiler.
            Expr::Const(_) => return,
            Expr::Repeat(repeat) => return self.visit_expr(&repeat.expr),
            _ => {}
        }
        visit::visit_expr(self, expr);
    }

    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_macro(&mut self, _: &'ast syn::Macro) {}
}

fn cut(text: &str) -> String {
    if text.chars().count() <= SHOWN_MOST {
        return text.to_owned();
    }
    text.chars().take(SHOWN_MOST).chain("…".chars()).collect()
}

fn for_tests(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => attr.path().segments.last().is_some_and(|name| name.ident == "test"),
    })
}

fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        Expr::Paren(inner) => has_let(&inner.expr),
        _ => false,
    }
}

/// Whether an operator assigns, and what it may be taken for.
fn operator(op: &BinOp) -> Option<(bool, &'static [&'static str])> {
    Some(match op {
        BinOp::Eq(_) => (false, &["!="]),
        BinOp::Ne(_) => (false, &["=="]),
        BinOp::And(_) => (false, &["||"]),
        BinOp::Or(_) => (false, &["&&"]),
        BinOp::Lt(_) => (false, &["==", ">", "<="]),
        BinOp::Gt(_) => (false, &["==", "<", ">="]),
        BinOp::Le(_) => (false, &[">", "<"]),
        BinOp::Ge(_) => (false, &["<", ">"]),
        BinOp::Add(_) => (false, &["-", "*"]),
        BinOp::Sub(_) | BinOp::Mul(_) => (false, &["+", "/"]),
        BinOp::Div(_) => (false, &["%", "*"]),
        BinOp::Rem(_) => (false, &["/", "+"]),
        BinOp::Shl(_) => (false, &[">>"]),
        BinOp::Shr(_) => (false, &["<<"]),
        BinOp::BitAnd(_) => (false, &["|", "^"]),
        BinOp::BitOr(_) => (false, &["&", "^"]),
        BinOp::BitXor(_) => (false, &["|", "&"]),
        BinOp::AddAssign(_) => (true, &["-=", "*="]),
        BinOp::SubAssign(_) | BinOp::MulAssign(_) => (true, &["+=", "/="]),
        BinOp::DivAssign(_) => (true, &["%=", "*="]),
        BinOp::RemAssign(_) => (true, &["/=", "+="]),
        BinOp::BitAndAssign(_) => (true, &["|=", "^="]),
        BinOp::BitOrAssign(_) => (true, &["&=", "^="]),
        BinOp::BitXorAssign(_) => (true, &["|=", "&="]),
        BinOp::ShlAssign(_) => (true, &[">>="]),
        BinOp::ShrAssign(_) => (true, &["<<="]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    fn said(source: &str) -> Vec<String> {
        find(source).unwrap().sites.into_iter().flat_map(|site| site.mutants).map(|m| m.what).collect()
    }

    #[test]
    fn a_comparison_may_be_off_by_one_turned_round_or_an_equality() {
        let found = said("fn due(now: u8, at: u8) -> u8 { if now < at { now } else { at } }");
        assert_eq!(
            found,
            [
                "due: answers `0`",
                "due: answers `1`",
                "due: `now < at` as `(now) == (at)`",
                "due: `now < at` as `(now) > (at)`",
                "due: `now < at` as `(now) <= (at)`",
            ]
        );
    }

    #[test]
    fn tests_constants_patterns_and_macros_are_left_alone() {
        for source in [
            "#[cfg(test)] mod tests { fn f() -> bool { 1 < 2 } }",
            "#[test] fn f() { assert!(g() < 2); h(); }",
            "const A: u8 = 1 + 2;",
            "static A: bool = !true;",
            "struct A; impl A { const B: u8 = 1 + 2; }",
            "impl std::fmt::Debug for A { fn fmt(&self) -> bool { 1 < 2 } }",
            "fn f() -> impl Iterator<Item = u8> { [0; 1 + 2].into_iter() }",
            "fn f() -> ! { loop { print!(\"{}\", 1 + 2) } }",
        ] {
            assert_eq!(said(source), Vec::<String>::new(), "{source}");
        }
        assert_eq!(find("#[cfg(test)] mod trial;").unwrap().test_modules, ["trial"]);
    }

    #[test]
    fn an_arm_can_be_missing_only_where_another_takes_its_place() {
        let found = said("fn f(a: u8) -> ! { match a { 1 => x(), 2 if y => z(), _ => w() } }");
        assert_eq!(
            found,
            ["f: without the arm `1`", "f: arm `2` if `y` as if true", "f: without the arm `2`"]
        );
        assert_eq!(
            said("fn f(a: bool) -> ! { match a { true => x(), false => y() } }"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_chain_of_lets_keeps_its_ands_and_loses_what_stands_between() {
        let found = said("fn f(a: Option<u8>) { if let Some(b) = a && b == 3 { g() } }");
        assert_eq!(found, ["f: answers `()`", "f: `b == 3` as `(b) != (3)`"]);
    }
}
