//! What the configuration of a server says, whatever server it is.

use std::path::PathBuf;

/// A chain, its key, and both in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub chain: PathBuf,
    pub key: PathBuf,
    pub combined: PathBuf,
}

/// What one listener does.
#[derive(Clone, Debug)]
pub struct Shape {
    pub files: Files,
    /// Served to everybody but `elsewhere.example`, who gets `files`.
    pub default: Option<Files>,
    /// Nobody but `elsewhere.example` is let in.
    pub rejects: bool,
    pub plain: bool,
    pub proxy: bool,
    /// A CA whose clients alone are let in.
    pub clients: Option<PathBuf>,
    /// A mistake elsewhere in the configuration.
    pub broken: bool,
}

/// Where a shape is met: at a port, by any name or by one. A door for one name stands beside another
/// at the same port, and differs from it by its files alone.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    pub port: u16,
    pub name: Option<&'static str>,
    pub shape: &'a Shape,
}
