//! One small fault that could be in the source.

use std::ops::Range;

/// A fault, and where its text goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// What it does, without its line: the same words as long as the code about it stays the same.
    pub what: String,
    /// For people: a line moves with each edit above it.
    pub line: usize,
    pub text: String,
}

/// A place in a file and what may go wrong there, one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Octets of the source, from the file's beginning.
    pub range: Range<usize>,
    pub kind: Kind,
    pub mutants: Vec<Mutant>,
}

/// How a site is written so that each of its faults can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An expression; a fault's text stands in its place.
    Expression,
    /// Right behind the brace that opens a body; a fault leaves with its text.
    Body,
    /// Right behind the pattern of an arm without a guard; the fault is that the arm is not there.
    Arm,
    /// The guard of an arm. A fault's text is `true`, `false`, or empty where the arm is not there.
    Guard,
}
