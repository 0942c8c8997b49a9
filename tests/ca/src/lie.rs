//! Certificates and chains that are not what was promised.

/// What is wrong with an issued leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeafLie {
    /// It certifies a key nobody asked for.
    OtherKey,
    /// The last of the names is missing (with a single name: it names someone else).
    MissingName,
    /// It names `extra.example` too.
    ExtraName,
    /// It expired an hour ago.
    Expired,
    /// It becomes valid in an hour.
    NotYetValid,
    /// It was valid on the first day of 1970.
    Year1970,
    /// It is valid until the end of 9999, as RFC 5280 §4.1.2.5 has it for "no well-defined date".
    Year9999,
    /// It ends before it begins.
    Reversed,
    /// It may sign certificates.
    Authority,
    /// A hierarchy that calls itself staging signed it, and that one's chain is handed out.
    StagingRoot,
}

/// What is wrong with the file a client downloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainLie {
    /// Nothing at all.
    Empty,
    /// The leaf without its issuers.
    LeafOnly,
    /// The issuers without the leaf.
    NoLeaf,
    /// The root first, the leaf last.
    Backwards,
    /// Each member twice.
    Doubled,
    /// The issuers again and again, until it has this many members.
    Members(usize),
    /// An issuer of another hierarchy stands where the leaf's should.
    OtherIssuer,
    /// The root is there too, which is unusual and right.
    WithRoot,
    /// A private key stands between the members.
    WithKey,
    /// Prose stands around the members, which RFC 8555 §9.1 forbids and RFC 7468 §5.2 knows.
    WithText,
    /// Prose with terminal escapes stands around the members.
    WithEscapes,
    /// Lines end with CR LF.
    CrLf,
    /// It ends in the middle of the last member.
    Truncated,
    /// The leaf's DER instead of PEM.
    Der,
    /// The leaf's base64 holds what is no base64.
    BadBase64,
    /// The leaf's base64 is cut so that its DER is.
    ShortDer,
    /// The members are labelled as something else.
    OtherLabel,
    /// The members in one line each.
    LongLines,
    /// Prose of this many octets stands before the leaf.
    Padded(usize),
    /// NUL octets stand between the members.
    WithNul,
    /// A byte order mark stands before the leaf.
    WithMark,
}

impl ChainLie {
    /// Bends an honest chain. `staging` are the issuers of another hierarchy, `root` the honest one's root.
    pub(crate) fn bend(self, chain: &str, root: &str, staging: &str) -> Vec<u8> {
        let members = split(chain);
        let leaf = members.first().copied().unwrap_or_default();
        let issuers = members.get(1..).unwrap_or_default();
        let text = match self {
            Self::Empty => String::new(),
            Self::LeafOnly => leaf.to_owned(),
            Self::NoLeaf => issuers.concat(),
            Self::Backwards => members.iter().rev().copied().collect(),
            Self::Doubled => members.iter().flat_map(|member| [*member, *member]).collect(),
            Self::Members(most) => {
                let again = issuers.iter().copied().cycle().take(most.saturating_sub(1));
                std::iter::once(leaf).chain(again).collect()
            }
            Self::OtherIssuer => format!("{leaf}{staging}"),
            Self::WithRoot => format!("{chain}{root}"),
            Self::WithKey => members
                .join(&rcgen::KeyPair::generate().map_or_else(|_| String::new(), |key| key.serialize_pem())),
            Self::WithText => format!("subject=the leaf\n{}", members.join("issuer=the next\n")),
            Self::WithEscapes => format!("\u{1b}]0;owned\u{7}\u{1b}[2J\n{}", members.join("\u{202e}\n")),
            Self::CrLf => chain.replace('\n', "\r\n"),
            Self::Truncated => chain[..chain.len() - 60].to_owned(),
            Self::Der => return base64_body(leaf).unwrap_or_default(),
            Self::BadBase64 => chain.replacen('M', "!", 3),
            Self::ShortDer => format!("{}\n-----END CERTIFICATE-----\n", &leaf[..27 + 1 + 65 * 2]),
            Self::OtherLabel => chain.replace("CERTIFICATE", "X509 CRL"),
            Self::LongLines => members.iter().map(|member| one_line(member)).collect(),
            Self::Padded(octets) => format!("{}\n{chain}", "x".repeat(octets)),
            Self::WithNul => members.join("\0\0\0\n"),
            Self::WithMark => format!("\u{feff}{chain}"),
        };
        text.into_bytes()
    }
}

const END: &str = "-----END CERTIFICATE-----\n";

/// The members of a chain of ours, each with its armour.
fn split(chain: &str) -> Vec<&str> {
    chain.split_inclusive(END).collect()
}

fn body(member: &str) -> String {
    member.lines().filter(|line| !line.starts_with('-')).collect()
}

fn one_line(member: &str) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n{END}", body(member))
}

fn base64_body(member: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(body(member)).ok()
}
