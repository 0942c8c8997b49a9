//! The certificates of a world: sites of one server, each with its names and its lifetime.

use nolapse::core::name::{LineageId, SubjectName};
use nolapse::core::time::Span;

/// Their first names, in the order in which they come.
const NAMES: [&str; 6] = [
    "shop.example.com",
    "blog.example.com",
    "mail.example.com",
    "wiki.example.com",
    "docs.example.com",
    "news.example.com",
];
/// Most certificates of one world.
pub const SITES_MAX: usize = NAMES.len();

/// One certificate that is wanted.
#[derive(Clone, Debug)]
pub struct Site {
    pub id: LineageId,
    /// That of its lineage first.
    pub names: Vec<SubjectName>,
    /// Of what the CA issues for it.
    pub lifetime: Span,
}

impl Site {
    /// One for each lifetime, [`SITES_MAX`] at most.
    pub fn all(lifetimes: impl IntoIterator<Item = Span>) -> Vec<Self> {
        NAMES.iter().zip(lifetimes).map(|(name, lifetime)| Self::new(name, lifetime)).collect()
    }

    fn new(name: &str, lifetime: Span) -> Self {
        let names = [name.to_owned(), format!("www.{name}")];
        Self {
            id: LineageId::parse(name).unwrap(),
            names: names.iter().map(|name| SubjectName::parse(name).unwrap()).collect(),
            lifetime,
        }
    }

    /// The lineage of the site at this place.
    pub fn name(place: usize) -> SubjectName {
        SubjectName::parse(NAMES[place]).unwrap()
    }
}
